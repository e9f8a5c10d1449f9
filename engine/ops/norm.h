// Batch norm (affine and conditional, fused with ReLU and 2x upsampling) and spectral norm.
#pragma once

#include "engine/core/tape.h"

namespace bigbigan {

struct BatchNormOptions {
  double eps = 1e-4;
  double momentum = 0.99;  // running := momentum * running + (1 - momentum) * batch
  double gain_offset =
      0.0;                // 1 for conditional batch norm: the effective gain is gain + gain_offset
  bool relu = false;      // y = max(., 0), fused
  bool upsample = false;  // y is the nearest 2x upsampling, fused: (N, 2H, 2W, C)
};

// y = (x - mean) / sqrt(var + eps) * (gain + gain_offset) + bias, per channel of x (N, H, W, C) or
// (N, C).
//
// gain and bias: (C) affine, (N, C) conditional, or empty Vars (1 and 0).
// shift (C), in master_dtype(ctx.dtype), or empty: x stands for x + shift, a constant that somebody
// has left out. Batch statistics take it out again, so that only the stored mean knows of it.
// running_mean, running_var: buffers (C), in master_dtype(ctx.dtype); read unless
// ctx.batch_statistics, updated when ctx.batch_statistics && ctx.update_statistics. Batch mean and
// biased variance are taken over the batch of ALL ranks of ctx.comm, each rank counting its own
// samples (uneven and empty ranks are right), by Welford merge in a fixed order; backward likewise
// uses the global count.
Var batch_norm(const Context& ctx, const Var& x, const Var& gain, const Var& bias,
               const Tensor& running_mean, const Tensor& running_var,
               const BatchNormOptions& options, const Tensor& shift = {});

// A weight to be normalised.
struct SpectralWeight {
  Tensor w;                   // (K, ...), read as the matrix (K, R)
  Tensor u;                   // (K): updated in place when ctx.power_iteration
  Tensor v, sigma;            // (R), (1): written, for the gradient; or empty
  DType dtype = DType::kF32;  // of the result: w's, or bf16
};
// w / sigma for each weight, all matrices of a network in one call; with n(x) = x / max(|x|, eps),
// when ctx.power_iteration:
//   v = n(u W), u = n(v W^T), sigma = v W^T u^T
// otherwise v = n(u W), sigma = |u W| with the stored u. No node of the tape: the results are
// leaves, Note [Gradients of normalised weights].
std::vector<Tensor> spectral_norm(const Context& ctx, std::span<const SpectralWeight> weights,
                                  double eps);

}  // namespace bigbigan
