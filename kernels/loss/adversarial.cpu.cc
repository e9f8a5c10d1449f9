#include "kernels/loss/adversarial.h"

#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

double sign_of(int score) { return score < kScoreCount / 2 ? 1.0 : -1.0; }

struct Sums {
  double loss = 0, score = 0;
};

template <class T>
Sums sums_of(AdversarialLoss loss, ConstView scores, double sign) {
  Sums sums;
  const T* s = scores.as<T>();
  for (int64_t i = 0; i < scores.elems(); ++i) {
    const double t = sign * double(s[i]);
    const double hinge = 1 - t;
    sums.loss += loss == AdversarialLoss::kLinear ? t : hinge <= 0 ? 0.0 : hinge;  // keeps a NaN
    sums.score += double(s[i]);
  }
  return sums;
}

template <class T>
void add_gradient(const AdversarialArgs& args, int score, View d_scores, bool accumulate) {
  const ConstView scores = args.scores[score];
  check_shape("adversarial_loss", "d_scores", d_scores.shape, scores.shape);
  const double sign = sign_of(score);
  const T* s = scores.as<T>();
  T* out = d_scores.as<T>();
  for (int64_t i = 0; i < scores.elems(); ++i) {
    const bool active = !(sign * double(s[i]) >= 1);
    const double slope = args.loss == AdversarialLoss::kLinear ? sign : active ? -sign : 0.0;
    out[i] = T(Accum<T>((accumulate ? double(out[i]) : 0.0) + slope / args.batch));
  }
}

}  // namespace

void adversarial_forward(const CpuExec& ex, const AdversarialArgs& args, View terms) {
  const Observed observed(ex, moved(args.scores));
  if (ex.plan_only) return;
  check_shape("adversarial_loss", "terms", terms.shape, {kLossTermCount});
  std::array<double, kLossTermCount> sums{};
  for (int i = 0; i < kScoreCount; ++i) {
    if (!args.scores[i]) continue;
    Sums s;
    dispatch_float("adversarial_loss", args.scores[i].dtype, [&]<class T>(TypeTag<T>) {
      s = sums_of<T>(args.loss, args.scores[i], sign_of(i));
    });
    const int kind = i % 3, half = i / 3;
    sums[kLossTotal] += s.loss / args.batch;
    sums[kLossX + kind] += s.loss / args.batch;
    sums[kScoreXReal + 2 * kind + half] = s.score / args.batch;
  }
  dispatch_real("adversarial_loss", terms.dtype, [&]<class T>(TypeTag<T>) {
    for (int i = 0; i < kLossTermCount; ++i) terms.as<T>()[i] = static_cast<T>(sums[i]);
  });
}

void adversarial_backward(const CpuExec& ex, const AdversarialArgs& args,
                          const ScoreGradients& d_scores) {
  const Observed observed(ex, moved(args.scores));
  if (ex.plan_only) return;
  for (int i = 0; i < kScoreCount; ++i) {
    if (!d_scores.view[i]) continue;
    dispatch_float("adversarial_loss", d_scores.view[i].dtype, [&]<class T>(TypeTag<T>) {
      add_gradient<T>(args, i, d_scores.view[i], d_scores.accumulate[i]);
    });
  }
}

}  // namespace bigbigan
