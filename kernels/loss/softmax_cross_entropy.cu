#include <cmath>

#include "kernels/common/dispatch.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/width.cuh"
#include "kernels/loss/softmax_cross_entropy_shapes.h"

namespace bigbigan {
namespace {

// A warp per row, as in softmax: rows of 1000 or so logits stay in the cache between its passes.
constexpr int kThreads = kCrossEntropyRowsPerPart * kWarp;

// CrossEntropyTerm, of a row or of many.
struct Terms {
  double loss, correct, invalid;
};
struct AddTerms {
  __device__ Terms operator()(const Terms& a, const Terms& b) const {
    return {a.loss + b.loss, a.correct + b.correct, a.invalid + b.invalid};
  }
};
__device__ inline Terms block_sum(const Terms& terms) {
  return block_reduce(terms, Terms{0, 0, 0}, AddTerms{});
}

// The largest logit of a row, and its first place.
struct Top {
  float logit;
  int32_t place;
};
struct LargerTop {
  __device__ Top operator()(const Top& a, const Top& b) const {
    return b.logit > a.logit || (b.logit == a.logit && b.place < a.place) ? b : a;
  }
};

template <class T>
struct Problem {
  const T* logits;
  const int64_t* labels;
  int64_t rows;
  float scale;
  T* d_logits;  // or null
  bool accumulate;
};

// Calls body(c) for the packs of a row that are the calling lane's.
template <int W, class Body>
__device__ inline void for_lane(int32_t classes, const Body& body) {
  for (int32_t c = static_cast<int32_t>(threadIdx.x) % kWarp * W; c < classes; c += kWarp * W) {
    body(c);
  }
}

template <int W, class T>
__device__ inline Top top_of(const T* x, int32_t classes) {
  Top top = {-INFINITY, classes};
  for_lane<W>(classes, [&](int32_t c) {
    float v[W];
    load(x + c, v);
#pragma unroll
    for (int k = 0; k < W; ++k) {
      if (v[k] > top.logit) top = {v[k], c + k};
    }
  });
  return warp_reduce(top, LargerTop{});
}

template <int W, class T>
__device__ inline float exp_sum(const T* x, int32_t classes, float top) {
  float sum = 0;
  for_lane<W>(classes, [&](int32_t c) {
    float v[W];
    load(x + c, v);
#pragma unroll
    for (int k = 0; k < W; ++k) sum += expf(v[k] - top);
  });
  return warp_sum(sum);
}

// One row, by a warp: its terms, unscaled.
template <int W, class T>
__device__ inline Terms row_terms(const Problem<T>& p, int32_t classes, int64_t row) {
  const T* x = p.logits + row * classes;
  const int64_t label = p.labels[row];
  const bool valid = label >= 0 && label < classes;
  const Top top = top_of<W>(x, classes);
  const float sum = exp_sum<W>(x, classes, top.logit);
  if (p.d_logits != nullptr) {
    T* out = p.d_logits + row * classes;
    for_lane<W>(classes, [&](int32_t c) {
      float v[W], d[W] = {};
      load(x + c, v);
      if (p.accumulate) load(out + c, d);
#pragma unroll
      for (int k = 0; k < W; ++k) {
        const float softmax = expf(v[k] - top.logit) / sum;
        d[k] += valid ? p.scale * (softmax - (c + k == label ? 1.0f : 0.0f)) : 0.0f;
      }
      store(out + c, d);
    });
  }
  if (!valid) return {0, 0, 1};
  const double above = static_cast<double>(top.logit) - static_cast<double>(to_float(x[label]));
  return {log(static_cast<double>(sum)) + above, top.place == label ? 1.0 : 0.0, 0};
}

// `terms` (CrossEntropyTerm) := sums over all rows, by the block that is the last to be done with
// its part; or null. Scratch: the number of blocks that are done, from 0 to 0; their terms.
template <class T, int W>
__global__ void cross_entropy_kernel(const Problem<T> p, int32_t classes, double scale,
                                     double* terms, double* scratch) {
  auto* done = reinterpret_cast<unsigned*>(scratch);
  auto* partial = reinterpret_cast<Terms*>(scratch + 1);
  GPU_SHARED(int, is_last, [1]);
  const int64_t row = grid_thread() / kWarp;
  Terms own = {0, 0, 0};
  if (row < p.rows) own = row_terms<W>(p, classes, row);  // the whole warp
  if (terms == nullptr) return;
  const bool leads = threadIdx.x % kWarp == 0;
  const Terms of_block = block_sum(leads ? own : Terms{0, 0, 0});
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = of_block;
    __threadfence();
    is_last[0] = atomicInc(done, gridDim.x - 1) == gridDim.x - 1 ? 1 : 0;  // and done := 0
  }
  __syncthreads();
  if (is_last[0] == 0) return;
  __threadfence();
  Terms sums = {0, 0, 0};
  for (unsigned part = threadIdx.x; part < gridDim.x; part += kThreads)
    sums = AddTerms{}(sums, partial[part]);
  sums = block_sum(sums);
  if (threadIdx.x != 0) return;
  terms[kCrossEntropyLoss] = scale * sums.loss;
  terms[kCrossEntropyCorrect] = sums.correct;
  terms[kCrossEntropyInvalid] = sums.invalid;
}

}  // namespace

void softmax_cross_entropy(const CudaExec& ex, const CrossEntropyArgs& a) {
  const Observed observed(ex);
  check_cross_entropy(a);
  const int64_t rows = a.logits.shape[0], classes = a.logits.shape[1];
  dispatch_cuda("softmax_cross_entropy", a.logits.dtype, [&]<class T>(TypeTag<T>) {
    const Problem<T> p{.logits = a.logits.as<T>(),
                       .labels = a.labels.as<int64_t>(),
                       .rows = rows,
                       .scale = static_cast<float>(a.scale),
                       .d_logits = a.d_logits ? a.d_logits.as<T>() : nullptr,
                       .accumulate = a.accumulate};
    dispatch_width<T>(classes, all_aligned(p.logits, p.d_logits), [&]<int W>(Width<W>) {
      launch(cross_entropy_kernel<T, W>, cross_entropy_parts(rows), kThreads, 0, ex.stream, p,
             classes, a.scale, a.terms ? a.terms.as<double>() : nullptr,
             a.terms ? a.scratch.as<double>() : nullptr);
    });
  });
}

}  // namespace bigbigan
