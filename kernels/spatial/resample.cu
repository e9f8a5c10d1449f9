#include "kernels/common/dispatch.cuh"
#include "kernels/spatial/resample_shapes.h"
#include "kernels/spatial/windows.cuh"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count

// y (+)= factor x, each pixel of x repeated 2x2
template <class T, int N>
__global__ void upsample_kernel(const T* __restrict__ x, uint32_t units, int w, int c, float factor,
                                bool accumulate, T* y) {
  for_each_unit(units, [&](uint32_t u) {
    const Doubled<N> window(u, w, c);
    float v[N];
    load(x + static_cast<int64_t>(u) * N, v);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      T* to = y + window.offset(i / 2, i % 2);
      float out[N];
      if (accumulate) load(to, out);
#pragma unroll
      for (int k = 0; k < N; ++k) out[k] = (accumulate ? out[k] : 0.0f) + factor * v[k];
      store(to, out);
    }
  });
}

// y (+)= factor times the sums of the 2x2 windows of x
template <class T, int N>
__global__ void pool_sum_kernel(const T* __restrict__ x, uint32_t units, int w, int c, float factor,
                                bool accumulate, T* y) {
  for_each_unit(units, [&](uint32_t u) {
    const Doubled<N> window(u, w, c);
    float v[4][N], out[N];
#pragma unroll
    for (int i = 0; i < 4; ++i) load(x + window.offset(i / 2, i % 2), v[i]);
    T* to = y + static_cast<int64_t>(u) * N;
    if (accumulate) load(to, out);
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const float sum = (v[0][k] + v[1][k]) + (v[2][k] + v[3][k]);
      out[k] = (accumulate ? out[k] : 0.0f) + factor * sum;
    }
    store(to, out);
  });
}

// y = a + b, each pixel of b repeated 2x2
template <class T, int N>
__global__ void add_upsampled_kernel(const T* __restrict__ a, const T* __restrict__ b,
                                     uint32_t units, int w, int c, T* y) {
  for_each_unit(units, [&](uint32_t u) {
    const Doubled<N> window(u, w, c);
    float small[N], v[4][N];
    load(b + static_cast<int64_t>(u) * N, small);
#pragma unroll
    for (int i = 0; i < 4; ++i) load(a + window.offset(i / 2, i % 2), v[i]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int k = 0; k < N; ++k) v[i][k] += small[k];
      store(y + window.offset(i / 2, i % 2), v[i]);
    }
  });
}

// y = scale times the sums of the boxes of x, `extent` on a side; w, c of y. kHalves: the
// extent is 2, and all loads of a box are under way at once: three channels are single elements.
template <class T, bool kHalves, int N>
__global__ void box_kernel(const T* __restrict__ x, uint32_t units, int w, int c, int extent,
                           float scale, T* y) {
  const int factor = kHalves ? 2 : extent;
  for_each_unit(units, [&](uint32_t u) {
    const UnitPlace at = place_of<N>(u, w, c);
    const int64_t pitch = static_cast<int64_t>(w) * factor * c;  // of a row of x
    const T* from = x + at.row * factor * pitch + int64_t{at.column} * factor * c + at.channel;
    float sum[N] = {};
#pragma unroll
    for (int i = 0; i < factor; ++i) {
#pragma unroll
      for (int j = 0; j < factor; ++j) {
        float v[N];
        load(from + i * pitch + int64_t{j} * c, v);
#pragma unroll
        for (int k = 0; k < N; ++k) sum[k] += v[k];
      }
    }
#pragma unroll
    for (float& value : sum) value *= scale;
    store(y + static_cast<int64_t>(u) * N, sum);
  });
}

}  // namespace

void upsample2x(const CudaExec& ex, ConstView x, double factor, View y, bool accumulate) {
  const Observed observed(ex);
  check_double("upsample2x", x.shape, y.shape);
  const int64_t w = x.shape[2], c = x.shape[3];
  dispatch_cuda("upsample2x", x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(c, all_aligned(x.data, y.data), [&]<int N>(Width<N>) {
      const int64_t units = x.elems() / N;
      launch(upsample_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream, x.as<T>(),
             units, w, c, static_cast<float>(factor), accumulate, y.as<T>());
    });
  });
}

void pool_sum2x2(const CudaExec& ex, ConstView x, double factor, View y, bool accumulate) {
  const Observed observed(ex);
  check_double("pool_sum2x2", y.shape, x.shape);
  const int64_t w = y.shape[2], c = y.shape[3];
  dispatch_cuda("pool_sum2x2", x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(c, all_aligned(x.data, y.data), [&]<int N>(Width<N>) {
      const int64_t units = y.elems() / N;
      launch(pool_sum_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream, x.as<T>(),
             units, w, c, static_cast<float>(factor), accumulate, y.as<T>());
    });
  });
}

void add_upsampled(const CudaExec& ex, ConstView a, ConstView b, View y) {
  const Observed observed(ex);
  check_double("add_upsampled", b.shape, a.shape);
  check_shape("add_upsampled", "y", y.shape, a.shape);
  const int64_t w = b.shape[2], c = b.shape[3];
  dispatch_cuda("add_upsampled", a.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(c, all_aligned(a.data, b.data, y.data), [&]<int N>(Width<N>) {
      const int64_t units = b.elems() / N;
      launch(add_upsampled_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
             a.as<T>(), b.as<T>(), units, w, c, y.as<T>());
    });
  });
}

void box_downsample(const CudaExec& ex, ConstView x, int64_t factor, View y) {
  const Observed observed(ex);
  check(x.shape.rank() == 4 && factor >= 1 && x.shape[1] % factor == 0 && x.shape[2] % factor == 0,
        "box_downsample: {} by {}", x.shape, factor);
  const int64_t w = x.shape[2] / factor, c = x.shape[3];
  check_shape("box_downsample", "y", y.shape, {x.shape[0], x.shape[1] / factor, w, c});
  const float scale = 1.0f / static_cast<float>(factor * factor);
  dispatch_cuda("box_downsample", x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(c, all_aligned(x.data, y.data), [&]<int N>(Width<N>) {
      const int64_t units = y.elems() / N;
      const auto kernel = factor == 2 ? box_kernel<T, true, N> : box_kernel<T, false, N>;
      launch(kernel, unit_blocks(units, kThreads), kThreads, 0, ex.stream, x.as<T>(), units, w, c,
             factor, scale, y.as<T>());
    });
  });
}

}  // namespace bigbigan
