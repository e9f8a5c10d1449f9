// Differentiable element-wise operations. Shapes of operands are equal unless said; errors:
// kInternal.
#pragma once

#include "engine/core/tape.h"

namespace bigbigan {

// max(x, 0)
Var relu(const Context& ctx, const Var& x);
Var tanh(const Context& ctx, const Var& x);
// log(1 + e^x), without overflow
Var softplus(const Context& ctx, const Var& x);
Var add(const Context& ctx, const Var& a, const Var& b);
// x * factor
Var scale(const Context& ctx, const Var& x, double factor);
// gamma * w of a weight with a learned scalar gamma (1), both masters, rounded once to ctx.dtype.
Var scaled_weight(const Context& ctx, const Var& w, const Var& gamma);
// x (..., C) + bias (C)
Var add_bias(const Context& ctx, const Var& x, const Var& bias);
// target (C) receives the sum over all rows of x (..., C); `also`, where it is not empty, as well.
void sum_columns(const Context& ctx, ConstView x, const GradTarget& target,
                 const GradTarget& also = {});
// The gradients of one or two biases (C), inputs of the node, that are added to each row of what
// has the gradient d (..., C): its sums over all rows, formed once. Nothing where none is wanted.
void bias_gradients(const Backward& b, ConstView d, std::initializer_list<int> biases);
// a (..., Ca), b (..., Cb) with equal leading axes -> (..., Ca + Cb)
Var concat_features(const Context& ctx, const Var& a, const Var& b);
// x (..., C) -> (..., end - begin): features [begin, end) of the last axis
Var slice_features(const Context& ctx, const Var& x, int64_t begin, int64_t end);
// Same elements, another shape; shares memory.
Var reshape(const Context& ctx, const Var& x, const Shape& shape);

}  // namespace bigbigan
