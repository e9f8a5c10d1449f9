// Convolutions, NHWC; weights KRSC: (out channels, rows, columns, in channels).
#pragma once

#include "engine/core/tape.h"

namespace bigbigan {

struct ConvOptions {
  int64_t stride = 1;
  int64_t pad = 0;    // zeros on each side, both axes
  bool relu = false;  // y = max(conv + bias, 0), fused
};

// y (N, P, Q, K) = x (N, H, W, C) * w (K, R, S, C) + bias (K) or an empty Var; P = (H + 2 pad -
// R)/stride + 1.
Var conv2d(const Context& ctx, const Var& x, const Var& w, const Var& bias,
           const ConvOptions& options);

// addend (N, H, W, K) + conv2d of x (N, H, W, C) with w (K, 1, 1, C) and bias: how a residual block
// ends. One matrix product of pixels while a network trains, with zeros for features up to a
// multiple of 8; elsewhere a convolution and a sum, whose bits for an image do not depend on the
// batch (Note [Rows alone]).
//
// Note [Biases of a sum]: the gradient of a sum is that of each term, and so is that of a bias that
// a term contains: its sums over all pixels. A sum that is told of the biases of its terms forms
// their gradients, once for all; the terms are made with these biases as constants.
// `addend_bias`, which may be empty: the bias that addend contains.
Var conv1x1_add(const Context& ctx, const Var& x, const Var& w, const Var& bias, const Var& addend,
                const Var& addend_bias = {});

// Transposed convolution, the data gradient of a strided convolution used forwards:
// x (N, H, W, C), w (C, R, S, K) -> y (N, (H-1) stride - 2 pad + R, ..., K); bias (K) or an empty
// Var.
Var conv2d_transposed(const Context& ctx, const Var& x, const Var& w, const Var& bias,
                      const ConvOptions& options);

// Note [Exact rewrites]: identities of linear maps that save a third of the arithmetic.
//  (a) nearest 2x upsample, then 3x3 pad 1      = transposed 4x4, stride 2, pad 1
//  (b) 3x3 pad 1, then 2x2 average pool         = 4x4, stride 2, pad 1
//  (c) a 1x1 convolution commutes with both.
// The folded weights are linear in the 3x3 weights, which stay the parameters: w and gradients have
// master_dtype(ctx.dtype), v has ctx.dtype (Note [Master weights]).

// (a): w (K, 3, 3, C) -> v (C, 4, 4, K) for conv2d_transposed; flip(w) convolved with ones(2, 2).
Var fold_upsample_weight(const Context& ctx, const Var& w);
// (b): w (K, 3, 3, C) -> v (K, 4, 4, C) for conv2d; w convolved with ones(2, 2) / 4.
Var fold_avg_pool_weight(const Context& ctx, const Var& w);

}  // namespace bigbigan
