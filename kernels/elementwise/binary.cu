#include <algorithm>

#include "kernels/common/dispatch.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/units.cuh"
#include "kernels/elementwise/binary.h"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count
// Blocks of the first pass of a sum: one wave on a large device, and no more than one block of the
// second pass adds up at once.
constexpr int64_t kMaxPartials = 1024;
constexpr int kLastThreads = 1024;  // one block: as many loads in flight as it can have

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

// y = x + gamma b
template <class T>
__global__ void add_scaled_kernel(const T* __restrict__ x, const T* __restrict__ gamma,
                                  const T* __restrict__ b, int64_t n, T* y) {
  const float factor = to_float(*gamma);
  for_each_pack<kPackElems<T>>(n, all_aligned(x, b, y), [&](auto width, int64_t i) {
    float sum[width], term[width];
    load(x + i, sum);
    load(b + i, term);
    for (int k = 0; k < width; ++k) sum[k] += factor * term[k];
    store(y + i, sum);
  });
}

// d_b (+)= gamma d_y
template <class T>
__global__ void add_scaled_backward_b_kernel(const T* __restrict__ gamma, const T* __restrict__ d_y,
                                             int64_t n, bool accumulate, T* d_b) {
  const float factor = to_float(*gamma);
  for_each_pack<kPackElems<T>>(n, all_aligned(d_y, d_b), [&](auto width, int64_t i) {
    float in[width], out[width];
    load(d_y + i, in);
    if (accumulate) load(d_b + i, out);
    for (int k = 0; k < width; ++k) out[k] = (accumulate ? out[k] : 0.0f) + factor * in[k];
    store(d_b + i, out);
  });
}

// partial (block) = the block's part of <a, b>
template <class T>
__global__ void dot_kernel(const T* __restrict__ a, const T* __restrict__ b, int64_t n,
                           double* partial) {
  float sum = 0;
  for_each_pack<kPackElems<T>>(n, all_aligned(a, b), [&](auto width, int64_t i) {
    float left[width], right[width];
    load(a + i, left);
    load(b + i, right);
    for (int k = 0; k < width; ++k) sum += left[k] * right[k];
  });
  const double total = block_sum(static_cast<double>(sum));
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// sum (1) (+)= the partial sums
template <class T>
__global__ void dot_end_kernel(const double* __restrict__ partial, int64_t count, bool accumulate,
                               T* sum) {
  const double total = block_sum_of(partial, count);
  if (threadIdx.x == 0) {
    const double before = accumulate ? static_cast<double>(to_float(*sum)) : 0.0;
    *sum = from_float<T>(static_cast<float>(before + total));
  }
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

void add_scaled_forward(const CudaExec& ex, ConstView x, ConstView gamma, ConstView b, View y) {
  const Observed observed(ex);
  check_shape("add_scaled", "gamma", gamma.shape, {1});
  check_shape("add_scaled", "b", b.shape, x.shape);
  check_shape("add_scaled", "y", y.shape, x.shape);
  const int64_t n = x.elems();
  dispatch_cuda("add_scaled", x.dtype, [&]<class T>(TypeTag<T>) {
    launch(add_scaled_kernel<T>, pack_blocks<kPackElems<T>>(n, kThreads), kThreads, 0, ex.stream,
           x.as<T>(), gamma.as<T>(), b.as<T>(), n, y.as<T>());
  });
}

void add_scaled_backward_b(const CudaExec& ex, ConstView gamma, ConstView d_y, View d_b,
                           bool accumulate) {
  const Observed observed(ex);
  check_shape("add_scaled", "d_b", d_b.shape, d_y.shape);
  const int64_t n = d_y.elems();
  dispatch_cuda("add_scaled", d_y.dtype, [&]<class T>(TypeTag<T>) {
    launch(add_scaled_backward_b_kernel<T>, pack_blocks<kPackElems<T>>(n, kThreads), kThreads, 0,
           ex.stream, gamma.as<T>(), d_y.as<T>(), n, accumulate, d_b.as<T>());
  });
}

void add_scaled_backward_gamma(const CudaExec& ex, ConstView b, ConstView d_y, View d_gamma,
                               bool accumulate, View scratch) {
  const Observed observed(ex);
  check_shape("add_scaled", "d_y", d_y.shape, b.shape);
  check(scratch.elems() >= add_scaled_scratch_elems(b.shape), "add_scaled: scratch of {} elements",
        scratch.elems());
  auto* partial = scratch.as<double>();
  const int64_t n = b.elems(), blocks = std::min(kMaxPartials, add_scaled_scratch_elems(b.shape));
  dispatch_cuda("add_scaled", b.dtype, [&]<class T>(TypeTag<T>) {
    launch(dot_kernel<T>, blocks, kThreads, 0, ex.stream, b.as<T>(), d_y.as<T>(), n, partial);
  });
  dispatch_cuda("add_scaled", d_gamma.dtype, [&]<class T>(TypeTag<T>) {
    launch(dot_end_kernel<T>, 1, kLastThreads, 0, ex.stream, partial, blocks, accumulate,
           d_gamma.as<T>());
  });
}

}  // namespace bigbigan
