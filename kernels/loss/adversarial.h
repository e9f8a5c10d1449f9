// The losses of BigBiGAN on scores (paper section 2): values, means and gradients of three kinds of
// score for both halves of a batch.
//
//   hinge (discriminator):  L = 1/B sum max(0, 1 - sign s),   dL/ds = -sign / B where sign s < 1
//   linear (E and G):       L = 1/B sum sign s,               dL/ds = sign / B
// sign is +1 for encoder pairs and -1 for generator pairs; B is the global batch. f32, f64;
// scores and their gradients also bf16, with terms in f32.
#pragma once

#include <array>

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

enum class AdversarialLoss : uint8_t { kHinge, kLinear };

// The 16 numbers that a loss leaves; unused ones are 0.
enum LossTerm : int {
  kLossTotal,
  kLossX,
  kLossZ,
  kLossXZ,  // sums of the encoder and the generator half
  kScoreXReal,
  kScoreXFake,
  kScoreZReal,
  kScoreZFake,
  kScoreXZReal,
  kScoreXZFake,  // mean scores
  kLossTermCount = 16
};

// s_x, s_z, s_xz of encoder pairs, then of generator pairs; a score that is switched off is empty.
inline constexpr int kScoreCount = 6;
struct AdversarialArgs {
  AdversarialLoss loss = AdversarialLoss::kHinge;
  std::array<ConstView, kScoreCount> scores;
  double batch = 1;  // global
};
// terms (kLossTermCount) := sums over this rank's scores, in order.
void adversarial_forward(const CpuExec& ex, const AdversarialArgs& args, View terms);
void adversarial_forward(const CudaExec& ex, const AdversarialArgs& args, View terms);

struct ScoreGradients {
  std::array<View, kScoreCount> view;  // each may be empty
  std::array<bool, kScoreCount> accumulate{};
};
void adversarial_backward(const CpuExec& ex, const AdversarialArgs& args,
                          const ScoreGradients& d_scores);
void adversarial_backward(const CudaExec& ex, const AdversarialArgs& args,
                          const ScoreGradients& d_scores);

}  // namespace bigbigan
