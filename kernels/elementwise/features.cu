#include "kernels/common/dispatch.cuh"
#include "kernels/common/units.cuh"
#include "kernels/elementwise/features_shapes.h"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count

// y[row][0 ... count-1] (+)= x[row][0 ... count-1] of rows that lie x_width and y_width apart.
template <class T, int N>
__global__ void copy_features_kernel(const T* __restrict__ x, int64_t x_width, uint32_t units,
                                     int count, int64_t y_width, bool accumulate, T* y) {
  for_each_unit(units, [&](uint32_t u) {
    const uint32_t per_row = static_cast<uint32_t>(count) / N;
    const uint32_t row = u / per_row, first = (u - row * per_row) * N;
    const T* from = x + row * x_width + first;
    T* to = y + row * y_width + first;
    if (accumulate) {
      float v[N], sum[N];
      load(from, v);
      load(to, sum);
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] += v[k];
      store(to, sum);
    } else if constexpr (N == 1) {
      *to = *from;  // not by way of float: the bits of a NaN stay
    } else {
      Pack<T>::load(from).store(to);
    }
  });
}

}  // namespace

void copy_features(const CudaExec& ex, ConstView x, int64_t x_begin, View y, int64_t y_begin,
                   int64_t count, bool accumulate) {
  const Observed observed(ex);
  const int64_t rows = rows_of_features(x, x_begin, y, y_begin, count);
  const int64_t x_width = x.shape[-1], y_width = y.shape[-1];
  dispatch_cuda("copy_features", x.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = x.as<T>() + x_begin;
    T* to = y.as<T>() + y_begin;
    // Packs are powers of two: they divide all three if they divide their "or".
    const int64_t extents = count | x_width | y_width;
    dispatch_width<T>(extents, all_aligned(from, to), [&]<int N>(Width<N>) {
      const int64_t units = rows * count / N;
      launch(copy_features_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream, from,
             x_width, units, count, y_width, accumulate, to);
    });
  });
}

}  // namespace bigbigan
