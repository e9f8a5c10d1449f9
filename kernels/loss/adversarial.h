// The scores of BigBiGAN's losses (paper section 2): sums, means and gradients of three score
// kinds.
//
//   hinge (discriminator):  L = 1/B sum max(0, 1 - sign s),   dL/ds = -sign / B where sign s < 1
//   linear (E and G):       L = 1/B sum sign s,               dL/ds = sign / B
// sign is +1 for encoder pairs and -1 for generator pairs; B is the global batch. f32, f64.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

enum class AdversarialLoss : uint8_t { kHinge, kLinear };

struct ScoreSums {
  double loss = 0;  // the term's part of the loss
  double mean = 0;  // sum of scores / B
};
// Sums over this rank's scores, in order.
ScoreSums adversarial_forward(const CpuExec& ex, AdversarialLoss loss, ConstView scores,
                              double sign, double batch);
void adversarial_backward(const CpuExec& ex, AdversarialLoss loss, ConstView scores, double sign,
                          double batch, View d_scores, bool accumulate);

}  // namespace bigbigan
