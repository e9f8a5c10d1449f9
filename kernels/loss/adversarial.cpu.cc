#include "kernels/loss/adversarial.h"

#include "kernels/common/dispatch.h"

namespace bigbigan {

ScoreSums adversarial_forward(const CpuExec& ex, AdversarialLoss loss, ConstView scores,
                              double sign, double batch) {
  const Observed observed(ex);
  ScoreSums sums;
  dispatch_real("adversarial_loss", scores.dtype, [&]<class T>(TypeTag<T>) {
    const T* s = scores.as<T>();
    for (int64_t i = 0; i < scores.elems(); ++i) {
      const double t = sign * double(s[i]);
      const double hinge = 1 - t;
      sums.loss += loss == AdversarialLoss::kLinear ? t : hinge <= 0 ? 0.0 : hinge;  // keeps a NaN
      sums.mean += double(s[i]);
    }
  });
  sums.loss /= batch;
  sums.mean /= batch;
  return sums;
}

void adversarial_backward(const CpuExec& ex, AdversarialLoss loss, ConstView scores, double sign,
                          double batch, View d_scores, bool accumulate) {
  const Observed observed(ex);
  check_shape("adversarial_loss", "d_scores", d_scores.shape, scores.shape);
  dispatch_real("adversarial_loss", scores.dtype, [&]<class T>(TypeTag<T>) {
    const T* s = scores.as<T>();
    T* out = d_scores.as<T>();
    for (int64_t i = 0; i < scores.elems(); ++i) {
      const bool active = !(sign * double(s[i]) >= 1);
      const double slope = loss == AdversarialLoss::kLinear ? sign : active ? -sign : 0.0;
      out[i] = static_cast<T>((accumulate ? double(out[i]) : 0.0) + slope / batch);
    }
  });
}

}  // namespace bigbigan
