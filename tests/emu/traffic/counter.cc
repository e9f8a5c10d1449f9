#include "counter.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>
#include <span>
#include <tuple>
#include <unordered_map>

#include "runtime.h"
#include "scheduler.h"

namespace emu {
namespace {

constexpr uint64_t kBanks = 32, kWordBytes = 4;

// By one lane.
struct Access {
  unsigned warp, lane;
  Instruction instruction;
  unsigned repetition;  // how often the lane had been there
  uint64_t place;       // an address, or within the array in shared memory
  unsigned bytes;

  [[nodiscard]] auto request() const { return std::tie(warp, instruction, repetition); }
};

// Bytes of sectors, a bit for each.
using Sectors = std::map<uint64_t, uint32_t>;

void add_bytes(uint64_t place, uint64_t bytes, Sectors& sectors) {
  for (uint64_t at = place; at < place + bytes; ++at) {
    sectors[at / kSectorBytes] |= 1u << (at % kSectorBytes);
  }
}

int64_t bytes_of(const Sectors& sectors) {
  int64_t bytes = 0;
  for (const auto& [sector, mask] : sectors) bytes += std::popcount(mask);
  return bytes;
}

// Lanes of 8 and 16 bytes are served by halves and quarters of the warp. Different words of one
// bank come one after the other.
void count_passes(std::span<const Access> request, Requests& r) {
  std::map<unsigned, std::map<uint64_t, std::set<uint64_t>>> parts;  // part -> bank -> words
  for (const Access& access : request) {
    const unsigned lanes = 32 / std::max(1u, access.bytes / unsigned{kWordBytes});
    const uint64_t last = (access.place + access.bytes - 1) / kWordBytes;
    for (uint64_t word = access.place / kWordBytes; word <= last; ++word) {
      parts[access.lane / lanes][word % kBanks].insert(word);
    }
  }
  for (const auto& [part, banks] : parts) {
    size_t passes = 0;
    for (const auto& [bank, words] : banks) passes = std::max(passes, words.size());
    r.passes += static_cast<int64_t>(passes);
    r.least_passes += 1;
  }
}

class Counter final : public GridObserver {
 public:
  void begin_grid(const void* kernel, dim3 grid, dim3 block) override {
    now_ = std::find_if(kernels.begin(), kernels.end(),
                        [&](const KernelTraffic& k) { return k.kernel == kernel; });
    if (now_ == kernels.end()) now_ = kernels.insert(now_, {.kernel = kernel});
    now_->grid = grid;
    now_->block = block;
    ++now_->launches;
    is_running_ = true;
  }

  void access(const void* address, size_t bytes, bool writes, const void* instruction) {
    if (!is_running_) return;  // the host's part of a .cu file
    const ptrdiff_t place = place_in_shared(address);
    const bool is_shared = place >= 0;
    if (!is_shared && !on_device(address, bytes)) return;
    const Instruction key{instruction, is_shared, writes};
    const unsigned thread = 32 * warp() + lane();
    unsigned& repetition = repetitions_[thread][instruction];
    block_.push_back(
        {.warp = warp(),
         .lane = lane(),
         .instruction = key,
         .repetition = repetition++,
         .place = is_shared ? static_cast<uint64_t>(place) : reinterpret_cast<uint64_t>(address),
         .bytes = static_cast<unsigned>(bytes)});
  }

  void end_block() override {
    std::stable_sort(block_.begin(), block_.end(),
                     [](const Access& a, const Access& b) { return a.request() < b.request(); });
    for (auto first = block_.begin(); first != block_.end();) {
      const auto end = std::find_if(first, block_.end(), [&](const Access& access) {
        return access.request() != first->request();
      });
      count({first, end});
      first = end;
    }
    block_.clear();
    repetitions_.clear();
  }

  void end_grid() override {
    now_->unique_read += bytes_of(read_);
    now_->unique_written += bytes_of(written_);
    read_.clear();
    written_.clear();
    is_running_ = false;
  }

  std::vector<KernelTraffic> kernels;

 private:
  void count(std::span<const Access> request) {
    const Instruction& instruction = request.front().instruction;
    Sectors sectors;
    for (const Access& access : request) add_bytes(access.place, access.bytes, sectors);
    Requests& r = now_->requests[instruction];
    r.count += 1;
    r.bytes += bytes_of(sectors);
    if (instruction.is_shared) {
      count_passes(request, r);
      return;
    }
    r.sectors += static_cast<int64_t>(sectors.size());
    Sectors& of_grid = instruction.writes ? written_ : read_;
    for (const auto& [sector, mask] : sectors) of_grid[sector] |= mask;
  }

  bool is_running_ = false;
  std::vector<KernelTraffic>::iterator now_;
  std::vector<Access> block_;
  std::unordered_map<unsigned, std::unordered_map<const void*, unsigned>> repetitions_;
  Sectors read_, written_;  // of the grid
};

Counter* counter = nullptr;

void count_access(const void* address, size_t bytes, bool writes, const void* instruction) {
  if (counter != nullptr) counter->access(address, bytes, writes, instruction);
}

}  // namespace

Requests& Requests::operator+=(const Requests& other) {
  count += other.count;
  bytes += other.bytes;
  sectors += other.sectors;
  passes += other.passes;
  least_passes += other.least_passes;
  return *this;
}

Requests KernelTraffic::total(bool is_shared) const {
  Requests sum;
  for (const auto& [instruction, r] : requests) {
    if (instruction.is_shared == is_shared) sum += r;
  }
  return sum;
}

std::vector<KernelTraffic> count_traffic(const std::function<void()>& work) {
  Counter of_work;
  counter = &of_work;
  observe_grids(counter);
  work();
  observe_grids(nullptr);
  counter = nullptr;
  return std::move(of_work.kernels);
}

}  // namespace emu

// --- what -fsanitize=thread calls ---

// The call that stands beside the access: one byte before the return is within it.
#define EMU_CALL (static_cast<const char*>(__builtin_return_address(0)) - 1)

#define EMU_ACCESS(bytes)                                                                        \
  void __tsan_read##bytes(void* address) { emu::count_access(address, bytes, false, EMU_CALL); } \
  void __tsan_write##bytes(void* address) { emu::count_access(address, bytes, true, EMU_CALL); }

#define EMU_ATOMIC(bits)                                                                   \
  uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* address, int) { \
    return __atomic_load_n(address, __ATOMIC_RELAXED);                                     \
  }                                                                                        \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t* address,      \
                                                    uint##bits##_t* expected,              \
                                                    uint##bits##_t wanted, int, int) {     \
    emu::count_access(const_cast<uint##bits##_t*>(address), bits / 8, true, EMU_CALL);     \
    return __atomic_compare_exchange_n(address, expected, wanted, false, __ATOMIC_SEQ_CST, \
                                       __ATOMIC_SEQ_CST);                                  \
  }

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
EMU_ACCESS(1)
EMU_ACCESS(2)
EMU_ACCESS(4)
EMU_ACCESS(8)
EMU_ACCESS(16)
void __tsan_read_range(void*, size_t) {}  // larger than what an instruction accesses: the host's
void __tsan_write_range(void*, size_t) {}
EMU_ATOMIC(32)
EMU_ATOMIC(64)
}
