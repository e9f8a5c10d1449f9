#include <algorithm>
#include <cmath>

#include "kernels/optim/adam_shapes.h"
#include "kernels/optim/segment_table.cuh"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count
// Of optimizer_update: blocks that are resident together, since each starts with a costly power.
constexpr int kBlocksPerSm = 4;

struct Adam {
  double lr, beta1, beta2;
  float eps;
};
struct Average {
  float keep, take;

  // Contracted by hand, so that all kernels round alike.
  __device__ float operator()(float average, float value) const {
    return fmaf(take, value, keep * average);
  }
};

struct Update {
  const float* g;
  float *w, *m, *v;
  float* average;  // or null
  bf16* packed;    // or null
};

// dL/dw of A, in place. Note [Gradients of normalised weights]
template <int N>
__device__ inline void normalise_gradient(const Segment& s, float inner, float factor, int64_t i,
                                          float (&a)[N]) {
  for_each_uv<N>(s, i, [&](int k, float u, float v) { a[k] = (a[k] - inner * u * v) * factor; });
}

// m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  w -= rate m / (sqrt(v correction) + eps);
// average = keep average + take w;  packed = w
__global__ void __launch_bounds__(kThreads, kBlocksPerSm)
    optimizer_kernel(const SegmentTable table, int chunks, const Update to, Adam adam, Average rule,
                     const double* __restrict__ sums, const float* __restrict__ sigmas,
                     const int64_t* __restrict__ t, const int32_t* __restrict__ skip) {
  GPU_SHARED(float, factors, [2]);  // rate, correction
  if (*skip != 0) return;           // all blocks, whole
  // In f64 as on the CPU: 1 - b2^t has lost its digits in f32 while t is small.
  if (threadIdx.x < 2) {
    const double beta = threadIdx.x == 0 ? adam.beta1 : adam.beta2;
    const double numerator = threadIdx.x == 0 ? adam.lr : 1.0;
    factors[threadIdx.x] = static_cast<float>(numerator / (1 - pow(beta, static_cast<double>(*t))));
  }
  __syncthreads();
  const float rate = factors[0], correction = factors[1];
  const float beta1 = static_cast<float>(adam.beta1), keep1 = static_cast<float>(1 - adam.beta1);
  const float beta2 = static_cast<float>(adam.beta2), keep2 = static_cast<float>(1 - adam.beta2);
  const bool aligned = all_aligned(to.g, to.w, to.m, to.v, to.average, to.packed);
  for (int i = static_cast<int>(blockIdx.x); i < chunks; i += static_cast<int>(gridDim.x)) {
    int chunk = i;
    const Segment& s = entry_of_block(table, 0, chunk);
    const bool normalised = s.u != nullptr;
    const double sigma = normalised ? static_cast<double>(sigmas[s.row]) : 1;
    const auto inner =
        static_cast<float>(normalised ? sums[s.row * kGradientSums + kAlongWeight] / sigma : 0);
    const auto factor = static_cast<float>(1 / sigma);
    for_each_pack(s, chunk, aligned, [&](auto width, int64_t i) {
      float gradient[width], value[width], first[width], second[width], average[width] = {};
      load(to.g + i, gradient);
      load(to.w + i, value);
      load(to.m + i, first);
      load(to.v + i, second);
      if (to.average != nullptr) load(to.average + i, average);
      if (normalised) normalise_gradient<width>(s, inner, factor, i, gradient);
      for (int k = 0; k < width; ++k) {
        first[k] = beta1 * first[k] + keep1 * gradient[k];
        second[k] = beta2 * second[k] + keep2 * (gradient[k] * gradient[k]);
        value[k] -= rate * first[k] / (sqrtf(second[k] * correction) + adam.eps);
      }
      store(to.m + i, first);
      store(to.v + i, second);
      store(to.w + i, value);
      if (to.packed != nullptr) store(to.packed + i, value);
      if (to.average == nullptr) return;
      for (int k = 0; k < width; ++k) average[k] = rule(average[k], value[k]);
      store(to.average + i, average);
    });
  }
}

__global__ void increment_kernel(int64_t* t) { ++*t; }

__global__ void ema_kernel(const float* __restrict__ value, int64_t n, Average rule,
                           const int32_t* __restrict__ skip, float* average) {
  if (*skip != 0) return;
  for_each_pack<kSegmentPack>(n, all_aligned(value, average), [&](auto width, int64_t i) {
    float in[width], out[width];
    load(value + i, in);
    load(average + i, out);
    for (int k = 0; k < width; ++k) out[k] = rule(out[k], in[k]);
    store(average + i, out);
  });
}

Average average_of(double decay) {
  return {static_cast<float>(decay), static_cast<float>(1 - decay)};
}

}  // namespace

void optimizer_update(const CudaExec& ex, const UpdateArgs& a) {
  const Observed observed(ex);
  check_update(a);
  const Adam adam{a.lr, a.beta1, a.beta2, static_cast<float>(a.eps)};
  const Update to{.g = a.grad.as<float>(),
                  .w = a.value.as<float>(),
                  .m = a.m.as<float>(),
                  .v = a.v.as<float>(),
                  .average = a.average ? a.average.as<float>() : nullptr,
                  .packed = a.packed ? a.packed.as<bf16>() : nullptr};
  const bool normalised = a.normalized.size() > 0;
  for_each_table(a.value.elems(), a.normalized,
                 [&](const SegmentTable& table, int64_t chunks, int64_t) {
                   const int64_t blocks = std::min(chunks, int64_t{ex.sms} * kBlocksPerSm);
                   launch(optimizer_kernel, blocks, kThreads, 0, ex.stream, table, chunks, to, adam,
                          average_of(a.decay), normalised ? a.sums.as<double>() : nullptr,
                          normalised ? a.normalized.sigmas.as<float>() : nullptr, a.t.as<int64_t>(),
                          a.skip.as<int32_t>());
                 });
}

void increment(const CudaExec& ex, View t) {
  const Observed observed(ex);
  launch(increment_kernel, 1, 1, 0, ex.stream, t.as<int64_t>());
}

void ema_update(const CudaExec& ex, View average, ConstView value, double decay, ConstView skip) {
  const Observed observed(ex);
  check_ema(average, value);
  const int64_t n = value.elems();
  launch(ema_kernel, pack_blocks<kSegmentPack>(n, kThreads), kThreads, 0, ex.stream,
         value.as<float>(), n, average_of(decay), skip.as<int32_t>(), average.as<float>());
}

}  // namespace bigbigan
