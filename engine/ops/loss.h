// The losses of BigBiGAN (paper section 2), and that of a linear classifier. Each records a root:
// backward() starts there.
//
// Scores are (N) or (N, 1) per kind; a kind that is switched off is an empty Var. Sums run over
// this rank's samples and are divided by the global batch, so that losses and gradients of ranks
// add up.
#pragma once

#include "engine/core/tape.h"
#include "kernels/loss/adversarial.h"
#include "kernels/loss/softmax_cross_entropy.h"

namespace bigbigan {

// Scores of one half of a batch: encoder pairs (x, E(x)) or generator pairs (G(z), z).
struct PairScores {
  Var s_x, s_z, s_xz;
};

// L_D = mean_enc[h(s_x) + h(s_z) + h(s_xz)] + mean_gen[h(-s_x) + h(-s_z) + h(-s_xz)], h(t) = max(0,
// 1 - t), each term clamped on its own. Returns the terms
// (kLossTermCount) in master_dtype(ctx.dtype).
Tensor discriminator_loss(const Context& ctx, const PairScores& encoder,
                          const PairScores& generator, int64_t global_batch);

// L_EG = mean_enc[s_x + s_z + s_xz] - mean_gen[s_x + s_z + s_xz]: linear, no hinge. Returns the
// terms (16).
Tensor encoder_generator_loss(const Context& ctx, const PairScores& encoder,
                              const PairScores& generator, int64_t global_batch);

// Softmax cross-entropy of logits (N, C) against labels i64 (N), times `scale`: 1 / N for the mean.
// Returns f64 (kCrossEntropyTermCount); a label outside [0, C) is counted there and has no
// gradient.
Tensor softmax_cross_entropy(const Context& ctx, const Var& logits, const Tensor& labels,
                             double scale);

}  // namespace bigbigan
