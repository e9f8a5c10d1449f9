// Batch norm (affine and conditional, fused with ReLU and 2x upsampling) and spectral norm.
#pragma once

#include <limits>

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
// samples (uneven and empty ranks are right), by Welford merge in rank order; backward likewise
// uses the global count.
Var batch_norm(const Context& ctx, const Var& x, const Var& gain, const Var& bias,
               const Tensor& running_mean, const Tensor& running_var,
               const BatchNormOptions& options, const Tensor& shift = {});

// w / sigma for each weight, all matrices of a network in one call. A weight (K, ...) is read as
// the matrix (K, rest). u (K) per weight, updated in place when ctx.power_iteration:
//   v = n(u W), u = n(v W^T), sigma = v W^T u^T with n(x) = x / max(|x|, eps)
// otherwise sigma = |u W| with the stored u. u and v carry no gradient; backward, for
// A = dL/d(w/sigma):
//   dL/dw = (A - <A, w/sigma> u^T v) / sigma
// Output i is stored in dtypes[i], or where there are no `dtypes` as ctx.dtype; its gradient has
// the dtype of the weights (Note [Master weights]).
//
// Note [Spectral groups]: one call normalises all weights of a network, but their gradients do not
// wait for each other: neighbours of `group_bytes` or more together, from the last weight on, are
// one node, which runs as soon as theirs have arrived (Note [Turns]). So the ranks' sums of the
// last layers' gradients travel while those of the first are still being formed. Each weight's
// gradient has the same bits whatever its group.
// The two launches of a group of 16 MiB move three times as many bytes, so that it is not they that
// take the time; and it is smaller than a bucket of gradients, which does not wait for it for long.
inline constexpr int64_t kSpectralGroupBytes = int64_t{16} << 20;
inline constexpr int64_t kOneSpectralGroup = std::numeric_limits<int64_t>::max();
std::vector<Var> spectral_norm(const Context& ctx, std::span<const Var> weights,
                               std::span<const Tensor> u, double eps,
                               std::span<const DType> dtypes = {},
                               int64_t group_bytes = kOneSpectralGroup);

}  // namespace bigbigan
