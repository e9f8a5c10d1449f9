#include "kernels/common/dispatch.cuh"
#include "kernels/spatial/relu_pool.h"
#include "kernels/spatial/resample_shapes.h"
#include "kernels/spatial/windows.cuh"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count

template <class T, int N>
__global__ void relu_pool_kernel(const T* __restrict__ x, uint32_t units, int w, int c, T* y,
                                 T* pooled) {
  for_each_unit(units, [&](uint32_t u) {
    const Doubled<N> window(u, w, c);
    float v[4][N], mean[N];
#pragma unroll
    for (int i = 0; i < 4; ++i) load(x + window.offset(i / 2, i % 2), v[i]);
#pragma unroll
    for (int k = 0; k < N; ++k) mean[k] = 0.25f * ((v[0][k] + v[1][k]) + (v[2][k] + v[3][k]));
    store(pooled + static_cast<int64_t>(u) * N, mean);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int k = 0; k < N; ++k) v[i][k] = v[i][k] < 0 ? 0.0f : v[i][k];  // keeps a NaN
      store(y + window.offset(i / 2, i % 2), v[i]);
    }
  });
}

template <class T, int N>
__global__ void relu_pool_backward_kernel(const T* __restrict__ y, const T* __restrict__ d_y,
                                          const T* __restrict__ d_pooled, uint32_t units, int w,
                                          int c, bool accumulate, T* d_x) {
  for_each_unit(units, [&](uint32_t u) {
    const Doubled<N> window(u, w, c);
    float mean[N], at[4][N], v[4][N];
    load(d_pooled + static_cast<int64_t>(u) * N, mean);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      load(y + window.offset(i / 2, i % 2), at[i]);
      load(d_y + window.offset(i / 2, i % 2), v[i]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      T* to = d_x + window.offset(i / 2, i % 2);
      float out[N];
      if (accumulate) load(to, out);
#pragma unroll
      for (int k = 0; k < N; ++k) {
        const float sum = (at[i][k] > 0 ? v[i][k] : 0.0f) + 0.25f * mean[k];
        out[k] = (accumulate ? out[k] : 0.0f) + sum;
      }
      store(to, out);
    }
  });
}

}  // namespace

void relu_pool_forward(const CudaExec& ex, ConstView x, View y, View pooled) {
  const Observed observed(ex);
  check_double("relu_pool", pooled.shape, x.shape);
  check_shape("relu_pool", "y", y.shape, x.shape);
  const int64_t w = pooled.shape[2], c = pooled.shape[3];
  dispatch_cuda("relu_pool", x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(c, all_aligned(x.data, y.data, pooled.data), [&]<int N>(Width<N>) {
      const int64_t units = pooled.elems() / N;
      launch(relu_pool_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
             x.as<T>(), units, w, c, y.as<T>(), pooled.as<T>());
    });
  });
}

void relu_pool_backward(const CudaExec& ex, ConstView y, ConstView d_y, ConstView d_pooled,
                        View d_x, bool accumulate) {
  const Observed observed(ex);
  check_double("relu_pool", d_pooled.shape, y.shape);
  check_shape("relu_pool", "d_y", d_y.shape, y.shape);
  check_shape("relu_pool", "d_x", d_x.shape, y.shape);
  const int64_t w = d_pooled.shape[2], c = d_pooled.shape[3];
  dispatch_cuda("relu_pool", y.dtype, [&]<class T>(TypeTag<T>) {
    const bool aligned = all_aligned(y.data, d_y.data, d_pooled.data, d_x.data);
    dispatch_width<T>(c, aligned, [&]<int N>(Width<N>) {
      const int64_t units = d_pooled.elems() / N;
      launch(relu_pool_backward_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
             y.as<T>(), d_y.as<T>(), d_pooled.as<T>(), units, w, c, accumulate, d_x.as<T>());
    });
  });
}

}  // namespace bigbigan
