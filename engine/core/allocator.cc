#include "engine/core/allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>

#include "engine/util/text.h"

namespace bigbigan {
namespace {

constexpr int64_t kAlignment = 64;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Block sizes: multiples of 64 bytes up to 4 KiB, then of 1/8 of the next power of two, so that
// similar requests share blocks and at most 1/8 is wasted.
int64_t rounded(int64_t bytes) {
  int64_t step = kAlignment;
  for (int64_t limit = 4096; bytes > limit; limit *= 2) step = limit / 4;
  return std::max<int64_t>(kAlignment, (bytes + step - 1) / step * step);
}

class HostReadback final : public Readback {
 public:
  explicit HostReadback(int64_t bytes) {
    for (auto& slot : slots_) slot.resize(bytes);
  }

 private:
  void start_copy(int slot, const void* from) override {
    std::memcpy(slots_[slot].data(), from, slots_[slot].size());
  }
  const std::byte* finish_copy(int slot) override { return slots_[slot].data(); }

  std::array<std::vector<std::byte>, kSlots> slots_;
};

}  // namespace

void MemoryLedger::add(MemoryTag tag, int64_t bytes) {
  const auto i = static_cast<size_t>(tag);
  live[i] += bytes;
  live_total += bytes;
  peak[i] = std::max(peak[i], live[i]);
  peak_total = std::max(peak_total, live_total);
}

std::string largest_tags(const std::array<int64_t, size_t(MemoryTag::kCount)>& bytes,
                         size_t count) {
  std::vector<size_t> order;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] > 0) order.push_back(i);
  }
  std::ranges::stable_sort(order, std::greater(), [&](size_t i) { return bytes[i]; });
  std::string text;
  for (size_t i = 0; i < std::min(count, order.size()); ++i) {
    text += fmt::format("{}{} {}", i == 0 ? "" : ", ", name_of(static_cast<MemoryTag>(order[i])),
                        format_bytes(bytes[order[i]]));
  }
  return text;
}

void* HostMemory::allocate(int64_t bytes) { return std::aligned_alloc(kAlignment, bytes); }
void HostMemory::release(void* block) noexcept { std::free(block); }
void HostMemory::read(const void* from, void* host, int64_t bytes) { copy(host, from, bytes); }
void HostMemory::write(void* to, const void* host, int64_t bytes) { copy(to, host, bytes); }
void HostMemory::copy(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);  // memcpy takes no null, not even for 0 bytes
}
void HostMemory::fill(void* to, int byte, int64_t bytes) { std::memset(to, byte, bytes); }

std::unique_ptr<Readback> HostMemory::readback(int64_t bytes) {
  return std::make_unique<HostReadback>(bytes);
}

void* PlanMemory::allocate(int64_t bytes) {
  const uintptr_t block = std::exchange(next_, next_ + static_cast<uintptr_t>(bytes));
  return reinterpret_cast<void*>(block);  // NOLINT(performance-no-int-to-ptr): nobody reads it
}

std::unique_ptr<Readback> PlanMemory::readback(int64_t bytes) {
  return std::make_unique<HostReadback>(bytes);
}

void Readback::start(const void* from) {
  check(started_ - waited_ < kSlots, "readback: {} copies under way", kSlots);
  start_copy(static_cast<int>(started_++ % kSlots), from);
}

const std::byte* Readback::wait() {
  check(waited_ < started_, "readback: no copy under way");
  return finish_copy(static_cast<int>(waited_++ % kSlots));
}

PoolAllocator::PoolAllocator(std::unique_ptr<Memory> memory, int64_t limit_bytes, Pooling pooling,
                             std::shared_ptr<MemoryAccount> account)
    : memory_(std::move(memory)),
      limit_bytes_(limit_bytes),
      is_pooled_(pooling == Pooling::kForGood || !kSanitized),
      is_for_good_(pooling == Pooling::kForGood),
      account_(account ? std::move(account) : std::make_shared<MemoryAccount>()) {}

PoolAllocator::~PoolAllocator() {
  const std::lock_guard lock(account_->mutex);
  release_free_blocks();
}

void PoolAllocator::return_block(void* block, int64_t size) noexcept {
  memory_->release(block);
  account_->ledger.held -= size;
}

void PoolAllocator::release_free_blocks() noexcept {
  for (auto& [size, blocks] : free_) {
    for (void* block : blocks) return_block(block, size);
    blocks.clear();
  }
}

// A free block, or a new one; null where there is none.
void* PoolAllocator::block_of(int64_t size) {
  if (auto& list = free_[size]; !list.empty()) {
    void* const block = list.back();
    list.pop_back();
    return block;
  }
  void* block = memory_->allocate(size);
  if (block == nullptr && !is_for_good_) {
    release_free_blocks();
    block = memory_->allocate(size);
  }
  MemoryLedger& ledger = account_->ledger;
  if (block != nullptr) ledger.held += size;
  ledger.peak_held = std::max(ledger.peak_held, ledger.held);
  return block;
}

void* PoolAllocator::allocate(int64_t bytes, MemoryTag tag) {
  check(bytes >= 0, "allocator: {} bytes asked for", bytes);
  const int64_t size = rounded(bytes);
  const std::lock_guard lock(account_->mutex);
  MemoryLedger& ledger = account_->ledger;
  const bool fits = limit_bytes_ == 0 || ledger.live_total + size <= limit_bytes_;
  void* const block = fits ? block_of(size) : nullptr;
  if (block == nullptr) {
    const std::optional<MemoryRoom> room = memory_->room();
    throw OutOfMemory(
        fmt::format("out of memory: {} wanted for {}{}; in use {}{}{}, kept for reuse {}",
                    format_bytes(bytes), name_of(tag),
                    room ? fmt::format(", {} free of {}", format_bytes(room->free_bytes),
                                       format_bytes(room->total_bytes))
                         : "",
                    format_bytes(ledger.live_total), ledger.live_total > 0 ? ": " : "",
                    largest_tags(ledger.live, 3), format_bytes(ledger.held - ledger.live_total)));
  }
  ledger.add(tag, size);
  return block;
}

void PoolAllocator::release(void* pointer, int64_t bytes, MemoryTag tag) noexcept {
  const int64_t size = rounded(bytes);
  const std::lock_guard lock(account_->mutex);
  account_->ledger.add(tag, -size);
  if (is_pooled_) {
    free_[size].push_back(pointer);
  } else {
    return_block(pointer, size);
  }
}

MemoryLedger PoolAllocator::ledger() const {
  const std::lock_guard lock(account_->mutex);
  return account_->ledger;
}

}  // namespace bigbigan
