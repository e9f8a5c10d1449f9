// Matrix products.
#pragma once

#include "engine/core/tape.h"

namespace bigbigan {

// y (N, M) = x (N, K) w^T + bias, w (M, K), bias (M) or an empty Var.
Var linear(const Context& ctx, const Var& x, const Var& w, const Var& bias);

// y (N, M) = relu(x (N, K) w_1^T + bias_1) w_2^T + bias_2 + skip, in two launches (Note
// [Epilogues]); w_1 (L, K), w_2 (M, L), biases (L) and (M), skip (N, M).
Var residual_layers(const Context& ctx, const Var& x, const Var& w_1, const Var& bias_1,
                    const Var& w_2, const Var& bias_2, const Var& skip);

// y (N, D) = row `labels[n]` of table (classes, D); labels i32 (N). The shared class embedding of
// G.
Var embedding(const Context& ctx, const Var& table, const Tensor& labels);

}  // namespace bigbigan
