// Sums over rows, many columns at once: what a bias gradient and a global pool have in common.
#pragma once

#include <cstdint>

#include "kernels/common/ahead.cuh"

namespace bigbigan {

// Threads of a block that calls column_sums; also the most units of columns it takes. A size that
// most channel counts divide or fill, so that few threads idle.
inline constexpr int kColumnThreads = 256;

// Sums `rows` rows of `units` units of N columns, `stride` elements apart, in a fixed order. The
// threads 0 ... units-1 get the sums of their unit. A block of kColumnThreads calls it, all of it,
// once in a kernel.
template <int N, class T>
__device__ inline void column_sums(const T* __restrict__ x, int64_t rows, int64_t stride, int units,
                                   float (&sums)[N]) {
  GPU_SHARED(float, partial, [N][kColumnThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  // Few columns: neighbouring threads go on in the next rows, which follow in memory.
  const int lanes = kColumnThreads / units, lane = thread / units;
  for (float& sum : sums) sum = 0;
  if (lane < lanes) {
    const T* from = x + (thread - lane * units) * N;
    for_each_ahead<4>(
        int64_t{lane}, rows, int64_t{lanes},
        [&](int64_t row) { return floats_at<N>(from + row * stride); },
        [&](const Floats<N>& row) {
#pragma unroll
          for (int k = 0; k < N; ++k) sums[k] += row.v[k];
        });
  }
#pragma unroll
  for (int k = 0; k < N; ++k) partial[k][thread] = sums[k];
  for (int left = lanes; left > 1;) {
    const int half = (left + 1) / 2;
    __syncthreads();  // the sums of the upper half are complete
    if (lane < left - half) {
#pragma unroll
      for (int k = 0; k < N; ++k) partial[k][thread] += partial[k][thread + half * units];
    }
    left = half;
  }
#pragma unroll
  for (int k = 0; k < N; ++k) sums[k] = partial[k][thread];
}

}  // namespace bigbigan
