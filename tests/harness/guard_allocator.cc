#include "tests/harness/guard_allocator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace bigbigan {
namespace {

constexpr int64_t kGuardBytes = 64;
constexpr int kGuardByte = 0xa5;

}  // namespace

void* GuardAllocator::allocate(int64_t bytes, MemoryTag tag) {
  auto* block = static_cast<char*>(base_.allocate(bytes + 2 * kGuardBytes, tag));
  memory().fill(block, kGuardByte, kGuardBytes);
  memory().fill(block + kGuardBytes, 0xff, bytes);
  memory().fill(block + kGuardBytes + bytes, kGuardByte, kGuardBytes);
  return block + kGuardBytes;
}

void GuardAllocator::release(void* pointer, int64_t bytes, MemoryTag tag) noexcept {
  auto* block = static_cast<unsigned char*>(pointer) - kGuardBytes;
  const auto intact = [&](const unsigned char* guard) {
    std::array<unsigned char, kGuardBytes> found{};
    memory().read(guard, found.data(), kGuardBytes);
    return std::all_of(found.begin(), found.end(), [](unsigned char b) { return b == kGuardByte; });
  };
  if (!intact(block) || !intact(block + kGuardBytes + bytes)) {
    ++damaged_;
    if (abort_on_damage) {
      fmt::print(stderr, "guard band damaged: block of {} bytes for {}\n", bytes, name_of(tag));
      std::abort();
    }
  }
  base_.release(block, bytes + 2 * kGuardBytes, tag);
}

}  // namespace bigbigan
