// Matrix products.
#pragma once

#include "engine/core/tape.h"

namespace bigbigan {

// y (N, M) = x (N, K) w^T + bias, w (M, K), bias (M) or an empty Var.
Var linear(const Context& ctx, const Var& x, const Var& w, const Var& bias);

// y (N, D) = row `labels[n]` of table (classes, D); labels i32 (N). The shared class embedding of
// G.
Var embedding(const Context& ctx, const Var& table, const Tensor& labels);

}  // namespace bigbigan
