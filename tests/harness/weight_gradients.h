// Gradients with respect to weights, as the optimiser forms them: Note [Gradients of normalised
// weights].
#pragma once

#include "engine/optim/adam.h"

namespace bigbigan {

// dL/dw of flat vectors of weights w and their gradients A = dL/d(w / sigma), whose `sums` are
// gradient_sums, of them or of what they are a part of: the first moment of an update without
// memory, which moves nothing.
inline Tensor formed_gradients(const Context& ctx, const Tensor& value, const Tensor& grad,
                               const NormalizedWeights& weights, const Tensor& sums) {
  const auto fresh = [&] { return Tensor::zeros(ctx, {grad.elems()}, grad.dtype()); };
  const Tensor gradient = fresh();
  const int64_t update = 1;
  optimizer_update(ctx, {.value = value,
                         .grad = grad,
                         .m = gradient,
                         .v = fresh(),
                         .t = Tensor::from_host(ctx, {1}, DType::kI64, &update),
                         .skip = Tensor::zeros(ctx, {1}, DType::kI32),
                         .eps = 1,
                         .normalized = weights,
                         .sums = sums});
  return gradient;
}
// Of whole vectors.
inline Tensor weight_gradients(const Context& ctx, const Tensor& value, const Tensor& grad,
                               const NormalizedWeights& weights) {
  const Tensor sums = Tensor::empty(ctx, gradient_sums_shape(weights), DType::kF64);
  gradient_sums(ctx, value, grad, weights, sums);
  return formed_gradients(ctx, value, grad, weights, sums);
}

}  // namespace bigbigan
