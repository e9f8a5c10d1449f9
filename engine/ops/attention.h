// The attention of BigGAN's non-local block.
#pragma once

#include "engine/core/tape.h"

namespace bigbigan {

// y (N, Q, V) = softmax_over_keys(query key^T) value; query (N, Q, D), key (N, K, D), value (N, K,
// V). No 1/sqrt(D). Fused: the (Q, K) score matrix of a whole sample is never kept for backward.
Var attention(const Context& ctx, const Var& query, const Var& key, const Var& value);

// Theta, phi and g of a non-local block by one convolution, conv2d of x with the joined weights:
//
//   const auto [query, key, value] = split_projections(ctx, conv2d(ctx, x, joined, {}, {}), depth);
//
// joined (sum of K, 1, 1, C) = the rows of three weights (K, 1, 1, C); its gradient, and theirs,
// have master_dtype(ctx.dtype) (Note [Master weights]).
Var join_weights(const Context& ctx, const Var& theta, const Var& phi, const Var& g);

// What attention reads of joint (N, H, W, 2 D + V), of whose channels the first D = `depth` are
// theta's, the next D are phi's: query (N, H W, D) is theta, key (N, P Q, D) and value (N, P Q, V)
// are phi and g after 2x2 max pooling, P and Q being H / 2 and W / 2 rounded down.
struct Projections {
  Var query, key, value;
};
Projections split_projections(const Context& ctx, const Var& joint, int64_t depth);

// Softmax over the last axis.
Var softmax(const Context& ctx, const Var& x);

// c (N, A, B) = a b^T per sample: a (N, A, K), b (N, B, K); or a b with b (N, K, B) when
// !transpose_b. With softmax the composite that `attention` is tested against.
Var batched_matmul(const Context& ctx, const Var& a, const Var& b, bool transpose_b);

}  // namespace bigbigan
