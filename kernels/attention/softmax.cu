#include "kernels/attention/softmax.h"

#include <cmath>

#include "kernels/common/dispatch.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/width.cuh"

namespace bigbigan {
namespace {

// A warp per row: the rows of scores and classes, of 1000 or so elements, stay in the cache between
// its passes.
constexpr int kThreads = 256;
constexpr int kRowsPerBlock = kThreads / kWarp;

// Calls body(i) for the packs of a row that are the calling lane's.
template <int W, class Body>
__device__ inline void for_lane(int64_t width, const Body& body) {
  for (int64_t i = static_cast<int64_t>(threadIdx.x) % kWarp * W; i < width; i += kWarp * W) {
    body(i);
  }
}

__device__ inline int64_t row_of_warp() { return grid_thread() / kWarp; }

template <class T, int W>
__global__ void softmax_kernel(const T* __restrict__ x, int64_t rows, int64_t width, T* y) {
  const int64_t row = row_of_warp();
  if (row >= rows) return;  // the whole warp
  x += row * width;
  y += row * width;
  float maximum = -INFINITY, sum = 0;
  for_lane<W>(width, [&](int64_t i) {
    float v[W];
    load(x + i, v);
#pragma unroll
    for (int k = 0; k < W; ++k) maximum = fmaxf(maximum, v[k]);
  });
  maximum = warp_max(maximum);
  for_lane<W>(width, [&](int64_t i) {
    float v[W];
    load(x + i, v);
#pragma unroll
    for (int k = 0; k < W; ++k) sum += expf(v[k] - maximum);
  });
  sum = warp_sum(sum);
  for_lane<W>(width, [&](int64_t i) {
    float v[W];
    load(x + i, v);
#pragma unroll
    for (int k = 0; k < W; ++k) v[k] = expf(v[k] - maximum) / sum;
    store(y + i, v);
  });
}

template <class T, int W>
__global__ void softmax_backward_kernel(const T* __restrict__ y, const T* __restrict__ d_y,
                                        int64_t rows, int64_t width, bool accumulate, T* d_x) {
  const int64_t row = row_of_warp();
  if (row >= rows) return;  // the whole warp
  y += row * width;
  d_y += row * width;
  d_x += row * width;
  float inner = 0;
  for_lane<W>(width, [&](int64_t i) {
    float out[W], g[W];
    load(y + i, out);
    load(d_y + i, g);
#pragma unroll
    for (int k = 0; k < W; ++k) inner += out[k] * g[k];
  });
  inner = warp_sum(inner);
  for_lane<W>(width, [&](int64_t i) {
    float out[W], g[W], d[W] = {};
    load(y + i, out);
    load(d_y + i, g);
    if (accumulate) load(d_x + i, d);
#pragma unroll
    for (int k = 0; k < W; ++k) d[k] += out[k] * (g[k] - inner);
    store(d_x + i, d);
  });
}

int64_t rows_of(const Shape& shape) { return shape.elems() == 0 ? 0 : shape.elems() / shape[-1]; }

}  // namespace

void softmax_forward(const CudaExec& ex, ConstView x, View y) {
  const Observed observed(ex);
  check_shape("softmax", "y", y.shape, x.shape);
  const int64_t rows = rows_of(x.shape), width = x.shape[-1];
  dispatch_cuda("softmax", x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(width, all_aligned(x.as<T>(), y.as<T>()), [&]<int W>(Width<W>) {
      launch(softmax_kernel<T, W>, blocks_for(rows, kRowsPerBlock), kThreads, 0, ex.stream,
             x.as<T>(), rows, width, y.as<T>());
    });
  });
}

void softmax_backward(const CudaExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate) {
  const Observed observed(ex);
  check_shape("softmax", "d_y", d_y.shape, y.shape);
  check_shape("softmax", "d_x", d_x.shape, y.shape);
  const int64_t rows = rows_of(y.shape), width = y.shape[-1];
  dispatch_cuda("softmax", y.dtype, [&]<class T>(TypeTag<T>) {
    const bool aligned = all_aligned(y.as<T>(), d_y.as<T>(), d_x.as<T>());
    dispatch_width<T>(width, aligned, [&]<int W>(Width<W>) {
      launch(softmax_backward_kernel<T, W>, blocks_for(rows, kRowsPerBlock), kThreads, 0, ex.stream,
             y.as<T>(), d_y.as<T>(), rows, width, accumulate, d_x.as<T>());
    });
  });
}

}  // namespace bigbigan
