// The update of a flat store, and the moving average of what has no optimiser, as single passes.
#pragma once

#include "engine/core/tensor.h"
#include "kernels/optim/adam.h"
#include "kernels/optim/gradient_sums.h"

namespace bigbigan {

// Adam, the moving average and the bf16 copy: see UpdateArgs. Where its `skip` is non-zero nothing
// changes.
void optimizer_update(const Context& ctx, const UpdateArgs& args);

// t i64 (1) := t + 1
void increment(const Context& ctx, const Tensor& t);

// average = decay * average + (1 - decay) * value; decay = 0 copies. Skipped like optimizer_update.
void ema_update(const Context& ctx, const Tensor& average, const Tensor& value, double decay,
                const Tensor& skip);

// The sums over a gradient that optimizer_update and gradient_norm take, f64 in the shape of
// gradient_sums_shape(weights): overwritten, or added to.
void gradient_sums(const Context& ctx, const Tensor& value, const Tensor& grad,
                   const NormalizedWeights& weights, const Tensor& sums, bool accumulate = false);
// |gradient|^2 into `squared_norm` (1), that of normalised weights with respect to w; sets skip :=
// 1 where it is not finite.
void gradient_norm(const Context& ctx, const NormalizedWeights& weights, const Tensor& sums,
                   const Tensor& squared_norm, const Tensor& skip);

}  // namespace bigbigan
