// Sums over rows, many columns at once: what a bias gradient and a global pool have in common.
#pragma once

#include <cstdint>

#include "kernels/common/ahead.cuh"

namespace bigbigan {

// Threads of a block that calls sum_columns_of; also the most units of columns it takes. A size
// that most channel counts divide or fill, so that few threads idle.
inline constexpr int kColumnThreads = 256;

// Sums `rows` rows of `units` units of N columns in a fixed order: the v[N] of what read(row, unit)
// returns and use() then gets, each once. The threads 0 ... units-1 get the sums of their unit. A
// block of kColumnThreads calls it, all of it, once in a kernel.
template <int N, class Read, class Use>
__device__ inline void sum_columns_of(int64_t rows, int units, float (&sums)[N], const Read& read,
                                      const Use& use) {
  GPU_SHARED(float, partial, [N][kColumnThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  // Few columns: neighbouring threads go on in the next rows, which follow in memory.
  const int lanes = kColumnThreads / units, lane = thread / units;
  for (float& sum : sums) sum = 0;
  if (lane < lanes) {
    for_each_ahead<4>(
        int64_t{lane}, rows, int64_t{lanes},
        [&](int64_t row) { return read(row, thread - lane * units); },
        [&](const auto& row) {
          use(row);
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

// The same of rows in memory, `stride` elements apart.
template <int N, class T>
__device__ inline void column_sums(const T* __restrict__ x, int64_t rows, int64_t stride, int units,
                                   float (&sums)[N]) {
  sum_columns_of(
      rows, units, sums,
      [&](int64_t row, int unit) { return floats_at<N>(x + row * stride + unit * N); },
      [](const Floats<N>&) {});
}

}  // namespace bigbigan
