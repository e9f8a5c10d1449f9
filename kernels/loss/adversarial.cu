#include <algorithm>

#include "kernels/common/dispatch.cuh"
#include "kernels/common/pack.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/loss/adversarial.h"

namespace bigbigan {
namespace {

constexpr int kForwardThreads = kScoreCount * kWarp;  // one block, a warp for each score set
constexpr int kThreads = 256;                         // a batch is a few blocks: latency is all
constexpr int kHalf = kScoreCount / 2;                // encoder pairs, then generator pairs

__device__ inline double sign_of(int score) { return score < kHalf ? 1.0 : -1.0; }

// Like Gradients it is indexed at run time: as a grid constant, so that it is not copied to local
// memory first.
template <class T>
struct Scores {
  const T* values[kScoreCount];
  int64_t count[kScoreCount];  // 0 where switched off
};

struct Sums {
  double loss, score;
};
struct AddSums {
  __device__ Sums operator()(const Sums& a, const Sums& b) const {
    return {a.loss + b.loss, a.score + b.score};
  }
};

// terms (kLossTermCount) := sums over the scores, divided by `batch`
template <class T>
__global__ void adversarial_kernel(const __grid_constant__ Scores<T> scores, bool linear,
                                   double batch, float* terms) {
  GPU_SHARED(Sums, of_score, [kScoreCount]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const double sign = sign_of(warp);
  Sums sums = {0, 0};
  for (int64_t i = lane; i < scores.count[warp]; i += kWarp) {
    const double s = static_cast<double>(to_float(scores.values[warp][i])), t = sign * s,
                 hinge = 1 - t;
    sums.loss += linear ? t : hinge <= 0 ? 0.0 : hinge;  // keeps a NaN
    sums.score += s;
  }
  sums = warp_reduce(sums, AddSums{});
  if (lane == 0) of_score[warp] = {sums.loss / batch, sums.score / batch};
  __syncthreads();
  if (threadIdx.x != 0) return;
  double total = 0;
  for (int kind = 0; kind < kHalf; ++kind) {
    const Sums &real = of_score[kind], &fake = of_score[kHalf + kind];
    total += real.loss + fake.loss;
    terms[kLossX + kind] = static_cast<float>(real.loss + fake.loss);
    terms[kScoreXReal + 2 * kind] = static_cast<float>(real.score);
    terms[kScoreXReal + 2 * kind + 1] = static_cast<float>(fake.score);
  }
  terms[kLossTotal] = static_cast<float>(total);
  for (int i = kScoreXZFake + 1; i < kLossTermCount; ++i) terms[i] = 0;
}

template <class T>
struct Gradients {
  T* values[kScoreCount];
  int64_t count[kScoreCount];  // 0 where no gradient is wanted
  bool accumulate[kScoreCount];
};

// d_scores (+)= slope step; a row of blocks for each score set
template <class T>
__global__ void adversarial_backward_kernel(const __grid_constant__ Scores<T> scores,
                                            const __grid_constant__ Gradients<T> gradients,
                                            bool linear, double step) {
  const int set = static_cast<int>(blockIdx.y);
  const double sign = sign_of(set);
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= gradients.count[set]) return;
  const auto score = static_cast<double>(to_float(scores.values[set][i]));
  const bool active = !(sign * score >= 1);  // true for NaN
  const double slope = linear ? sign : active ? -sign : 0.0;
  T& out = gradients.values[set][i];
  const double before = gradients.accumulate[set] ? static_cast<double>(to_float(out)) : 0.0;
  out = from_float<T>(static_cast<float>(before + slope * step));
}

template <class T>
Scores<T> scores_of(const AdversarialArgs& args) {
  Scores<T> scores{};
  for (int i = 0; i < kScoreCount; ++i) {
    if (!args.scores[i]) continue;
    scores.values[i] = args.scores[i].as<T>();
    scores.count[i] = args.scores[i].elems();
  }
  return scores;
}

// All scores have one; none at all, any.
DType score_dtype(const AdversarialArgs& args) {
  for (const ConstView& scores : args.scores) {
    if (scores) return scores.dtype;
  }
  return DType::kF32;
}

template <class T>
Gradients<T> gradients_of(const AdversarialArgs& args, const ScoreGradients& d_scores,
                          int64_t& most) {
  Gradients<T> gradients{};
  for (int i = 0; i < kScoreCount; ++i) {
    const View& d = d_scores.view[i];
    if (!d) continue;
    check_shape("adversarial_loss", "d_scores", d.shape, args.scores[i].shape);
    gradients.values[i] = d.as<T>();
    gradients.count[i] = d.elems();
    gradients.accumulate[i] = d_scores.accumulate[i];
    most = std::max(most, d.elems());
  }
  return gradients;
}

bool is_linear(const AdversarialArgs& args) { return args.loss == AdversarialLoss::kLinear; }

}  // namespace

void adversarial_forward(const CudaExec& ex, const AdversarialArgs& args, View terms) {
  const Observed observed(ex);
  check_shape("adversarial_loss", "terms", terms.shape, {kLossTermCount});
  dispatch_cuda("adversarial_loss", score_dtype(args), [&]<class T>(TypeTag<T>) {
    launch(adversarial_kernel<T>, 1, kForwardThreads, 0, ex.stream, scores_of<T>(args),
           is_linear(args), args.batch, terms.as<float>());
  });
}

void adversarial_backward(const CudaExec& ex, const AdversarialArgs& args,
                          const ScoreGradients& d_scores) {
  const Observed observed(ex);
  dispatch_cuda("adversarial_loss", score_dtype(args), [&]<class T>(TypeTag<T>) {
    int64_t most = 0;
    const Gradients<T> gradients = gradients_of<T>(args, d_scores, most);
    launch(adversarial_backward_kernel<T>, Extent(blocks_for(most, kThreads), kScoreCount),
           kThreads, 0, ex.stream, scores_of<T>(args), gradients, is_linear(args), 1 / args.batch);
  });
}

}  // namespace bigbigan
