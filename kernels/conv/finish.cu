#include "kernels/conv/finish.h"

#include "kernels/common/dispatch.cuh"
#include "kernels/common/units.cuh"

namespace bigbigan {
namespace {

// No shared memory and few registers: a common size.
constexpr int kThreads = 256;

// `from` may be `to`: each thread writes what it alone has read.
template <class From, class To, int N>
__global__ void finish_kernel(const From* from, const From* __restrict__ bias, bool relu,
                              bool accumulate, uint32_t units, uint32_t per_row, To* to) {
  for_each_unit(units, [&](uint32_t u) {
    const int64_t i = static_cast<int64_t>(u) * N;
    float v[N];
    load(from + i, v);
    if (bias != nullptr) {
      float b[N];
      load(bias + u % per_row * N, b);
#pragma unroll
      for (int k = 0; k < N; ++k) v[k] += b[k];
    }
    if (accumulate) {
      float old[N];
      load(to + i, old);
#pragma unroll
      for (int k = 0; k < N; ++k) v[k] += old[k];
    }
    if (relu) {
#pragma unroll
      for (int k = 0; k < N; ++k) v[k] = v[k] < 0 ? 0 : v[k];  // keeps a NaN
    }
    store(to + i, v);
  });
}

}  // namespace

void conv2d_finish(const CudaExec& ex, ConstView from, ConstView bias, bool relu, View to,
                   bool accumulate) {
  const Observed observed(ex);
  check_shape("conv2d", "result", from.shape, to.shape);
  if (to.elems() == 0) return;
  const int64_t channels = to.shape[-1];
  if (bias) check_shape("conv2d", "bias", bias.shape, {channels});
  const auto finish = [&]<class From, class To>(TypeTag<From>, TypeTag<To>) {
    const bool aligned = all_aligned(from.data, bias.data, to.data);
    dispatch_width<To>(channels, aligned, [&]<int N>(Width<N>) {
      const int64_t units = to.elems() / N;
      launch(finish_kernel<From, To, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
             from.as<From>(), bias ? bias.as<From>() : nullptr, relu, accumulate, units,
             channels / N, to.as<To>());
    });
  };
  dispatch_cuda("conv2d_finish", from.dtype, [&]<class From>(TypeTag<From> tag) {
    to.dtype == DType::kF32 ? finish(tag, TypeTag<float>()) : finish(tag, tag);
  });
}

}  // namespace bigbigan
