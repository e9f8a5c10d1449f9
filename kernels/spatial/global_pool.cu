#include "kernels/common/columns.cuh"
#include "kernels/common/dispatch.cuh"
#include "kernels/common/units.cuh"
#include "kernels/spatial/global_pool.h"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count

int64_t pixels_of(const Shape& x) {
  check(x.rank() == 4, "global_pool: {} is not an image batch", x);
  return x[1] * x[2];
}

// y (images, channels) = factor times the sums over the pixels; a block has one image.
template <class T, int N>
__global__ void global_pool_kernel(const T* __restrict__ x, int64_t pixels, int channels,
                                   float factor, T* y) {
  const int first = static_cast<int>(blockIdx.y) * kColumnThreads;  // in units of N channels
  const int units = min(channels / N - first, kColumnThreads);
  const int64_t image = blockIdx.x;
  float sums[N];
  column_sums(x + image * pixels * channels + int64_t{first} * N, pixels, channels, units, sums);
  if (static_cast<int>(threadIdx.x) >= units) return;
#pragma unroll
  for (float& sum : sums) sum *= factor;
  store(y + image * channels + (first + int64_t{threadIdx.x}) * N, sums);
}

// d_x (images, pixels, channels) (+)= factor d_y (images, channels)
template <class T, int N>
__global__ void global_pool_backward_kernel(const T* __restrict__ d_y, uint32_t units, int pixels,
                                            int channels, float factor, bool accumulate, T* d_x) {
  for_each_unit(units, [&](uint32_t u) {
    const UnitPlace at = place_of<N>(u, pixels, channels);  // a row is an image
    T* to = d_x + static_cast<int64_t>(u) * N;
    float in[N], out[N];
    load(d_y + at.row * channels + at.channel, in);
    if (accumulate) load(to, out);
#pragma unroll
    for (int k = 0; k < N; ++k) out[k] = (accumulate ? out[k] : 0.0f) + factor * in[k];
    store(to, out);
  });
}

}  // namespace

void global_pool_forward(const CudaExec& ex, ConstView x, double factor, View y) {
  const Observed observed(ex);
  const int64_t pixels = pixels_of(x.shape), n = x.shape[0], c = x.shape[3];
  check_shape("global_pool", "y", y.shape, {n, c});
  dispatch_cuda("global_pool", x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(c, all_aligned(x.data, y.data), [&]<int N>(Width<N>) {
      launch(global_pool_kernel<T, N>, Extent(n, blocks_for(c / N, kColumnThreads)), kColumnThreads,
             0, ex.stream, x.as<T>(), pixels, c, static_cast<float>(factor), y.as<T>());
    });
  });
}

void global_pool_backward(const CudaExec& ex, ConstView d_y, double factor, View d_x,
                          bool accumulate) {
  const Observed observed(ex);
  const int64_t pixels = pixels_of(d_x.shape), c = d_x.shape[3];
  check_shape("global_pool", "d_y", d_y.shape, {d_x.shape[0], c});
  dispatch_cuda("global_pool", d_y.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(c, all_aligned(d_y.data, d_x.data), [&]<int N>(Width<N>) {
      const int64_t units = d_x.elems() / N;
      launch(global_pool_backward_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0,
             ex.stream, d_y.as<T>(), units, pixels, c, static_cast<float>(factor), accumulate,
             d_x.as<T>());
    });
  });
}

}  // namespace bigbigan
