// Memory for tensors: host or device memory, an allocator with a byte ledger per tag, and a caching
// pool.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/common/error.h"

namespace bigbigan {

// What a block is for; the ledger and the memory plan are kept by tag.
enum class MemoryTag : uint8_t {
  kParameters,
  kGradients,
  kOptimizer,
  kBuffers,
  kActivations,
  kWorkspace,
  kData,
  kCount
};

constexpr std::string_view name_of(MemoryTag tag) {
  constexpr std::array<std::string_view, size_t(MemoryTag::kCount)> kNames = {
      "parameters", "gradients", "optimizer", "buffers", "activations", "workspace", "data"};
  return kNames[static_cast<size_t>(tag)];
}

// Bytes in use now and at most, per tag and in all.
struct MemoryLedger {
  std::array<int64_t, size_t(MemoryTag::kCount)> live{};
  std::array<int64_t, size_t(MemoryTag::kCount)> peak{};
  int64_t live_total = 0;
  int64_t peak_total = 0;
  int64_t held = 0;  // taken from the memory: in use, or kept for the next request
  int64_t peak_held = 0;

  void add(MemoryTag tag, int64_t bytes);
};

// "activations 1.2 GiB, parameters 0.4 GiB": the tags with most bytes, largest first, but at most
// `count` and none without.
std::string largest_tags(const std::array<int64_t, size_t(MemoryTag::kCount)>& bytes,
                         size_t count = size_t(MemoryTag::kCount));

struct MemoryRoom {
  int64_t free_bytes = 0, total_bytes = 0;
};

// A request for more memory than there is left.
class OutOfMemory : public Error {
 public:
  explicit OutOfMemory(const std::string& message) : Error(ExitCode::kSystem, message) {}
};

// Copies of a block of some memory, on their way to the host while the host goes on launching. At
// most two are under way at a time.
class Readback {
 public:
  virtual ~Readback() = default;
  // Copies the block at `from` when the launches come to this place.
  void start(const void* from);
  // The bytes of the oldest copy that was started, when they are there; they stay until the second
  // start() from now.
  const std::byte* wait();

 protected:
  static constexpr int kSlots = 2;

 private:
  virtual void start_copy(int slot, const void* from) = 0;
  virtual const std::byte* finish_copy(int slot) = 0;

  int64_t started_ = 0, waited_ = 0;
};

// Where blocks come from, and how their bytes travel: host memory or a device's. Transfers take
// their place in the order of the launches on that device.
class Memory {
 public:
  virtual ~Memory() = default;
  // 64-byte aligned; null when exhausted.
  virtual void* allocate(int64_t bytes) = 0;
  virtual void release(void* block) noexcept = 0;
  // To the host; the bytes are there on return.
  virtual void read(const void* from, void* host, int64_t bytes) = 0;
  // From the host, whose bytes may change again on return.
  virtual void write(void* to, const void* host, int64_t bytes) = 0;
  virtual void copy(void* to, const void* from, int64_t bytes) = 0;
  virtual void fill(void* to, int byte, int64_t bytes) = 0;
  // For copies of `bytes` bytes each.
  [[nodiscard]] virtual std::unique_ptr<Readback> readback(int64_t bytes) = 0;
  // Empty where nobody can say.
  [[nodiscard]] virtual std::optional<MemoryRoom> room() const { return {}; }
};

class HostMemory final : public Memory {
 public:
  void* allocate(int64_t bytes) override;
  void release(void* block) noexcept override;
  void read(const void* from, void* host, int64_t bytes) override;
  void write(void* to, const void* host, int64_t bytes) override;
  void copy(void* to, const void* from, int64_t bytes) override;
  void fill(void* to, int byte, int64_t bytes) override;
  [[nodiscard]] std::unique_ptr<Readback> readback(int64_t bytes) override;
};

// No memory: addresses for a plan of what would be used (Context::plan_only). Nobody may touch what
// is there, and transfers do nothing.
class PlanMemory final : public Memory {
 public:
  void* allocate(int64_t bytes) override;
  void release(void*) noexcept override {}
  void read(const void*, void*, int64_t) override {}
  void write(void*, const void*, int64_t) override {}
  void copy(void*, const void*, int64_t) override {}
  void fill(void*, int, int64_t) override {}
  [[nodiscard]] std::unique_ptr<Readback> readback(int64_t bytes) override;

 private:
  uintptr_t next_ = uintptr_t{1} << 40;
};

class Allocator {
 public:
  virtual ~Allocator() = default;
  // At least `bytes` bytes, 64-byte aligned; never null, also for 0 bytes. Throws OutOfMemory with
  // the request, the room that is left and the ledger's largest tags.
  virtual void* allocate(int64_t bytes, MemoryTag tag) = 0;
  virtual void release(void* pointer, int64_t bytes, MemoryTag tag) noexcept = 0;
  [[nodiscard]] virtual MemoryLedger ledger() const = 0;
  [[nodiscard]] virtual Memory& memory() = 0;
};

// The ledger of pools over one memory.
struct MemoryAccount {
  std::mutex mutex;
  MemoryLedger ledger;
};

// A pool of freed blocks over a memory, kept by rounded size: the same sequence of requests gets
// the same addresses (a step can be captured), and a step touches no fresh page after the first.
// Thread-safe. Where memory ends, it gives back the free blocks and asks again, unless the pool is
// for good: recordings may hold their addresses. Under AddressSanitizer nothing is pooled, so that
// every block keeps its red zones, unless the pool is for good.
class PoolAllocator : public Allocator {
 public:
  enum class Pooling : uint8_t { kUnlessSanitized, kForGood };
  // Requests that would take the blocks in use over `limit_bytes` fail; 0 is no limit. `account`:
  // of the other pools over this memory; null is one of its own.
  explicit PoolAllocator(std::unique_ptr<Memory> memory, int64_t limit_bytes = 0,
                         Pooling pooling = Pooling::kUnlessSanitized,
                         std::shared_ptr<MemoryAccount> account = nullptr);
  ~PoolAllocator() override;
  PoolAllocator(const PoolAllocator&) = delete;
  PoolAllocator& operator=(const PoolAllocator&) = delete;

  void* allocate(int64_t bytes, MemoryTag tag) override;
  void release(void* pointer, int64_t bytes, MemoryTag tag) noexcept override;
  [[nodiscard]] MemoryLedger ledger() const override;
  [[nodiscard]] Memory& memory() override { return *memory_; }
  [[nodiscard]] const std::shared_ptr<MemoryAccount>& account() const { return account_; }

 private:
  void* block_of(int64_t size);
  void return_block(void* block, int64_t size) noexcept;
  void release_free_blocks() noexcept;

  std::unique_ptr<Memory> memory_;
  int64_t limit_bytes_;
  bool is_pooled_, is_for_good_;
  std::shared_ptr<MemoryAccount> account_;
  std::map<int64_t, std::vector<void*>> free_;
};

class HostAllocator final : public PoolAllocator {
 public:
  explicit HostAllocator(int64_t limit_bytes = 0)
      : PoolAllocator(std::make_unique<HostMemory>(), limit_bytes) {}
};

}  // namespace bigbigan
