// All that a kernel needs of CUDA, and the only place with launch syntax and __shared__: the same
// source is compiled by nvcc, or by g++ for an emulated device (BIGBIGAN_CUDA=EMULATED).
//
//   launch(scale_kernel, blocks_for(n, kThreads), kThreads, 0, stream, x, factor, n);
//
// Rules that both compilers need: collectives are reached by every lane with the mask kFullMask; no
// cooperative groups, no
// __activemask, no block waits for another; a type in shared memory has no member initialisers.
#pragma once

#include <cstdint>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/common/cuda_status.h"
#include "kernels/common/error.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>

// A shared array of the block, 16-byte aligned as packs need it: GPU_SHARED(float, tile, [4][64]);
#define GPU_SHARED(T, name, extents) __shared__ __align__(16) T name extents
// The shared memory whose size is the launch's argument, as T*, 16-byte aligned.
#define GPU_DYNAMIC_SHARED(T, name)             \
  extern __shared__ uint4 gpu_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(gpu_dynamic_shared)
#else
#include "cuda_emu.h"

// The static byte is a name for the array: one per declaration and instantiation.
#define GPU_SHARED(T, name, extents)                                                \
  static_assert(std::is_trivially_default_constructible_v<T>, #T " in GPU_SHARED"); \
  static const char name##_key = 0;                                                 \
  T(&name)                                                                          \
  extents = *static_cast<T(*) extents>(emu::static_shared(&name##_key, sizeof(T extents)))
#define GPU_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(emu::dynamic_shared())
#endif

namespace bigbigan {

inline constexpr unsigned kFullMask = 0xffffffff;
inline constexpr int kWarp = 32;
inline constexpr int kMaxThreads = 1024;
inline constexpr size_t kDefaultSharedBytes = 48 * 1024;  // more is granted on request

// Extents of a grid or block, in 64 bits so that a size too large is seen and not cut off; converts
// from a number. Knows the line of the launch, for messages.
struct Extent {
  int64_t x = 1, y = 1, z = 1;
  const char* file = nullptr;
  int line = 0;

  Extent(int64_t x_blocks, int64_t y_blocks = 1, int64_t z_blocks = 1,  // NOLINT: implicit
         const char* at_file = __builtin_FILE(), int at_line = __builtin_LINE())
      : x(x_blocks), y(y_blocks), z(z_blocks), file(at_file), line(at_line) {}
  [[nodiscard]] bool empty() const { return x == 0 || y == 0 || z == 0; }
  [[nodiscard]] dim3 dims() const {
    return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
  }
};

// Blocks of `per_block` that cover `n`.
inline int64_t blocks_for(int64_t n, int64_t per_block) { return (n + per_block - 1) / per_block; }

// An argument as the kernel's parameter. Throws Error{kInternal} where an integer does
// not fit: kernels count in 32 bits where that is faster, and this is where a tensor
// too large for it is refused.
template <class Param, class Arg>
Param kernel_argument(const Arg& arg, const Extent& grid) {
  static_assert(std::is_trivially_copyable_v<Param>, "kernel parameters are copied as bytes");
  if constexpr (std::is_integral_v<Param> && std::is_integral_v<Arg> &&
                !std::is_same_v<Param, Arg>) {
    const Param value = static_cast<Param>(arg);
    check(std::cmp_equal(value, arg), "{}:{}: kernel argument {} does not fit a {}-byte integer",
          grid.file, grid.line, arg, sizeof(Param));
    return value;
  } else {
    return arg;
  }
}

inline void check_extents(const Extent& grid, const Extent& block) {
  const auto fits = [](const Extent& e, int64_t x, int64_t y, int64_t z) {
    return e.x >= 0 && e.y >= 0 && e.z >= 0 && e.x <= x && e.y <= y && e.z <= z;
  };
  check(fits(grid, std::numeric_limits<int32_t>::max(), 65535, 65535),
        "{}:{}: launch of a grid of ({}, {}, {}) blocks", grid.file, grid.line, grid.x, grid.y,
        grid.z);
  check(fits(block, kMaxThreads, kMaxThreads, 64) && !block.empty() &&
            block.x * block.y * block.z <= kMaxThreads,
        "{}:{}: launch with ({}, {}, {}) threads per block", grid.file, grid.line, block.x, block.y,
        block.z);
}

// Enqueues `kernel` on `stream`, with `shared_bytes` of dynamic shared memory; what CUDA says to
// that. An empty grid does nothing. Throws Error{kInternal} for impossible extents or arguments.
template <class... Params, class... Args>
cudaError_t try_launch(void (*kernel)(Params...), Extent grid, Extent block, size_t shared_bytes,
                       cudaStream_t stream, const Args&... args) {
  static_assert(sizeof...(Params) == sizeof...(Args), "one argument for each kernel parameter");
  check_extents(grid, block);
  const std::tuple<Params...> values(kernel_argument<Params>(args, grid)...);
  if (grid.empty()) return cudaSuccess;
  const auto entry = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > kDefaultSharedBytes) {
    const cudaError_t status = cudaFuncSetAttribute(
        entry, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (status != cudaSuccess) return status;
  }
#ifdef __CUDACC__
  std::apply(
      [&](const Params&... value) {
        kernel<<<grid.dims(), block.dims(), shared_bytes, stream>>>(value...);
      },
      values);
#else
  emu::launch(entry, grid.dims(), block.dims(), shared_bytes, stream,
              [kernel, values] { std::apply(kernel, values); });
#endif
  return cudaGetLastError();
}

// The same; throws Error{kSystem} when CUDA refuses the launch.
template <class... Params, class... Args>
void launch(void (*kernel)(Params...), Extent grid, Extent block, size_t shared_bytes,
            cudaStream_t stream, const Args&... args) {
  const cudaError_t status = try_launch(kernel, grid, block, shared_bytes, stream, args...);
  if (status != cudaSuccess) {
    check_cuda(status, fmt::format("{}:{}: launch of ({}, {}, {}) blocks of ({}, {}, {}) threads "
                                   "with {} bytes of shared memory",
                                   grid.file, grid.line, grid.x, grid.y, grid.z, block.x, block.y,
                                   block.z, shared_bytes));
  }
}

}  // namespace bigbigan
