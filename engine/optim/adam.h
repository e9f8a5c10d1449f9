// The update of a flat store, and the moving average of what has no optimiser, as single passes.
#pragma once

#include "engine/core/tensor.h"
#include "kernels/optim/adam.h"

namespace bigbigan {

// Adam, the moving average and the bf16 copy: see UpdateArgs. Where its `skip` is non-zero nothing
// changes.
void optimizer_update(const Context& ctx, const UpdateArgs& args);

// t i64 (1) := t + 1
void increment(const Context& ctx, const Tensor& t);

// average = decay * average + (1 - decay) * value; decay = 0 copies. Skipped like optimizer_update.
void ema_update(const Context& ctx, const Tensor& average, const Tensor& value, double decay,
                const Tensor& skip);

// Sum of squares of `x` into `sum` (1), fixed order; f32 input is summed in f64 chunks. With `skip`
// non-empty sets skip := 1 where the sum is not finite.
void sum_of_squares(const Context& ctx, const Tensor& x, const Tensor& sum, const Tensor& skip);

}  // namespace bigbigan
