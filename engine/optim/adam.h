// Adam and the moving average of weights, as single passes over flat stores.
#pragma once

#include "engine/core/tensor.h"

namespace bigbigan {

struct AdamOptions {
  double lr = 2e-4, beta1 = 0.0, beta2 = 0.999, eps = 1e-8;
};

// One update over flat vectors of equal length, f32 or f64:
//   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
//   w -= lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps)
// `t` i64 (1) is the number of this update, from 1. Where `skip` i32 (1) is non-zero nothing
// changes.
void adam_update(const Context& ctx, const Tensor& value, const Tensor& grad, const Tensor& m,
                 const Tensor& v, const Tensor& t, const Tensor& skip, const AdamOptions& options);

// t i64 (1) := t + 1
void increment(const Context& ctx, const Tensor& t);

// average = decay * average + (1 - decay) * value; decay = 0 copies. Skipped like adam_update.
void ema_update(const Context& ctx, const Tensor& average, const Tensor& value, double decay,
                const Tensor& skip);

// Sum of squares of `x` into `sum` (1), fixed order; f32 input is summed in f64 chunks. With `skip`
// non-empty sets skip := 1 where the sum is not finite.
void sum_of_squares(const Context& ctx, const Tensor& x, const Tensor& sum, const Tensor& skip);

}  // namespace bigbigan
