// Counts what emulated kernels ask of the memory, as a multiprocessor would: the accesses of a
// warp's lanes by one instruction are one request.
//
// The .cu files of such a build are compiled by -fsanitize=thread, so that each access calls a hook
// of ThreadSanitizer; counter.cc defines the hooks. Registers and stacks are not counted. The n-th
// time that a lane comes to an instruction meets the n-th time of the others: where lanes go
// through an inner loop different numbers of times, requests after it are put together wrongly.
#pragma once

#include <vector_types.h>

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace emu {

inline constexpr int64_t kSectorBytes = 32;  // what the memory moves at least

// An instruction that accesses device or shared memory.
struct Instruction {
  const void* address = nullptr;
  bool is_shared = false, writes = false;
  auto operator<=>(const Instruction&) const = default;
};

struct Requests {
  int64_t count = 0;  // by whole warps
  int64_t bytes = 0;  // those of each request, each counted once
  // Device memory: sectors of each request.
  int64_t sectors = 0;
  // Shared memory: passes that the banks need, and would need without conflicts.
  int64_t passes = 0, least_passes = 0;

  Requests& operator+=(const Requests& other);
};

// Of all grids of a kernel.
struct KernelTraffic {
  const void* kernel = nullptr;
  dim3 grid, block;  // of the last one
  int64_t launches = 0;
  int64_t unique_read = 0, unique_written = 0;  // bytes of device memory, once in a grid
  std::map<Instruction, Requests> requests;

  [[nodiscard]] Requests total(bool is_shared) const;
};

// Of the kernels that run while `work` does, which waits for them; in order of their first grid.
std::vector<KernelTraffic> count_traffic(const std::function<void()>& work);

// Where a kernel or instruction stands in the source.
struct Symbol {
  std::string function;  // without namespaces and parameters
  std::string place;     // "attention.cu:77", the innermost outside of kernels/common
};
// Of many addresses at once, by addr2line.
std::map<const void*, Symbol> symbols_of(const std::set<const void*>& addresses);

}  // namespace emu
