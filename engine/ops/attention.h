// The attention of BigGAN's non-local block.
#pragma once

#include "engine/core/tape.h"

namespace bigbigan {

// y (N, Q, V) = softmax_over_keys(query key^T) value; query (N, Q, D), key (N, K, D), value (N, K,
// V). No 1/sqrt(D). Fused: the (Q, K) score matrix of a whole sample is never kept for backward.
Var attention(const Context& ctx, const Var& query, const Var& key, const Var& value);

// Softmax over the last axis.
Var softmax(const Context& ctx, const Var& x);

// c (N, A, B) = a b^T per sample: a (N, A, K), b (N, B, K); or a b with b (N, K, B) when
// !transpose_b. With softmax the composite that `attention` is tested against.
Var batched_matmul(const Context& ctx, const Var& a, const Var& b, bool transpose_b);

}  // namespace bigbigan
