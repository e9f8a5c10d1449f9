#include <algorithm>

#include "kernels/common/dispatch.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/units.cuh"
#include "kernels/elementwise/binary_shapes.h"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count
// Blocks of the first pass of a sum: one wave on a large device, and no more than one block of the
// second pass adds up at once.
constexpr int64_t kMaxPartials = 1024;
constexpr int kLastThreads = 1024;              // one block: as many loads in flight as it can have
constexpr int kMasterPack = kPackElems<float>;  // half a pack of bf16

// y = a + b
template <class T>
__global__ void add_kernel(const T* __restrict__ a, const T* __restrict__ b, int64_t n, T* y) {
  for_each_pack<kPackElems<T>>(n, all_aligned(a, b, y), [&](auto width, int64_t i) {
    float left[width], right[width];
    load(a + i, left);
    load(b + i, right);
    for (int k = 0; k < width; ++k) left[k] += right[k];
    store(y + i, left);
  });
}

// y (rows, channels) = x + bias
template <class T, int N>
__global__ void add_bias_kernel(const T* __restrict__ x, const T* __restrict__ bias, uint32_t units,
                                int channels, T* y) {
  for_each_unit(units, [&](uint32_t u) {
    const int64_t i = static_cast<int64_t>(u) * N;
    float v[N], shift[N];
    load(x + i, v);
    load(bias + u % (static_cast<uint32_t>(channels) / N) * N, shift);
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] += shift[k];
    store(y + i, v);
  });
}

// y (+)= gamma x
template <class T>
__global__ void scale_by_kernel(const float* __restrict__ gamma, const float* __restrict__ x,
                                int64_t n, bool accumulate, T* y) {
  const float factor = *gamma;
  for_each_pack<kMasterPack>(n, all_aligned(x, y), [&](auto width, int64_t i) {
    float in[width], out[width];
    load(x + i, in);
    if (accumulate) load(y + i, out);
    for (int k = 0; k < width; ++k) out[k] = (accumulate ? out[k] : 0.0f) + factor * in[k];
    store(y + i, out);
  });
}

// partial (block) = the block's part of <a, b>
__global__ void dot_kernel(const float* __restrict__ a, const float* __restrict__ b, int64_t n,
                           double* partial) {
  float sum = 0;
  for_each_pack<kMasterPack>(n, all_aligned(a, b), [&](auto width, int64_t i) {
    float left[width], right[width];
    load(a + i, left);
    load(b + i, right);
    for (int k = 0; k < width; ++k) sum += left[k] * right[k];
  });
  const double total = block_sum(static_cast<double>(sum));
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// sum (1) (+)= the partial sums
__global__ void dot_end_kernel(const double* __restrict__ partial, int64_t count, bool accumulate,
                               float* sum) {
  const double total = block_sum_of(partial, count);
  if (threadIdx.x != 0) return;
  *sum = static_cast<float>((accumulate ? static_cast<double>(*sum) : 0.0) + total);
}

}  // namespace

void add(const CudaExec& ex, ConstView a, ConstView b, View y) {
  const Observed observed(ex);
  check_shape("add", "b", b.shape, a.shape);
  check_shape("add", "y", y.shape, a.shape);
  const int64_t n = a.elems();
  dispatch_cuda("add", a.dtype, [&]<class T>(TypeTag<T>) {
    launch(add_kernel<T>, pack_blocks<kPackElems<T>>(n, kThreads), kThreads, 0, ex.stream,
           a.as<T>(), b.as<T>(), n, y.as<T>());
  });
}

void add_bias(const CudaExec& ex, ConstView x, ConstView bias, View y) {
  const Observed observed(ex);
  const int64_t channels = x.shape[-1];
  check_shape("add_bias", "bias", bias.shape, {channels});
  check_shape("add_bias", "y", y.shape, x.shape);
  dispatch_cuda("add_bias", x.dtype, [&]<class T>(TypeTag<T>) {
    const bool aligned = all_aligned(x.data, bias.data, y.data);
    dispatch_width<T>(channels, aligned, [&]<int N>(Width<N>) {
      const int64_t units = x.elems() / N;
      launch(add_bias_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream, x.as<T>(),
             bias.as<T>(), units, channels, y.as<T>());
    });
  });
}

void scale_by(const CudaExec& ex, ConstView gamma, ConstView x, View y, bool accumulate) {
  const Observed observed(ex);
  check_scale_by(gamma, x, y, accumulate);
  const int64_t n = x.elems();
  dispatch_cuda("scale_by", y.dtype, [&]<class T>(TypeTag<T>) {
    launch(scale_by_kernel<T>, pack_blocks<kMasterPack>(n, kThreads), kThreads, 0, ex.stream,
           gamma.as<float>(), x.as<float>(), n, accumulate, y.as<T>());
  });
}

void inner_product(const CudaExec& ex, ConstView a, ConstView b, View sum, bool accumulate,
                   View scratch) {
  const Observed observed(ex);
  check_inner_product(a, b, sum, scratch);
  auto* partial = scratch.as<double>();
  const int64_t n = a.elems(), blocks = std::min(kMaxPartials, inner_product_scratch_elems(n));
  launch(dot_kernel, blocks, kThreads, 0, ex.stream, a.as<float>(), b.as<float>(), n, partial);
  launch(dot_end_kernel, 1, kLastThreads, 0, ex.stream, partial, blocks, accumulate,
         sum.as<float>());
}

}  // namespace bigbigan
