// Resampling and pooling of NHWC images.
#pragma once

#include <utility>

#include "engine/core/tape.h"

namespace bigbigan {

// (N, H, W, C) -> (N, 2H, 2W, C), nearest
Var upsample2x(const Context& ctx, const Var& x);
// 2x2 windows, stride 2; H and W even: (N, H, W, C) -> (N, H/2, W/2, C)
Var avg_pool2x2(const Context& ctx, const Var& x);
Var max_pool2x2(const Context& ctx, const Var& x);
// The ResNet stem's pool: 3x3 windows, stride 2, one row and column of zeros around, which take
// part in the maximum; (N, H, W, C) -> (N, (H-1)/2+1, (W-1)/2+1, C). Ties go to the first element
// of the window.
Var max_pool3x3s2(const Context& ctx, const Var& x);
// (N, H, W, C) -> (N, C)
Var global_sum_pool(const Context& ctx, const Var& x);
Var global_avg_pool(const Context& ctx, const Var& x);
// a (N, H, W, C) + nearest 2x upsampling of b (N, H/2, W/2, C), fused. bias_a and bias_b (C), which
// may be empty: biases that a and b contain (Note [Biases of a sum]).
Var add_upsampled(const Context& ctx, const Var& a, const Var& b, const Var& bias_a = {},
                  const Var& bias_b = {});
// relu(x) and avg_pool2x2(x), fused. Who differentiates one uses both.
std::pair<Var, Var> relu_avg_pool2x2(const Context& ctx, const Var& x);
// Mean over factor x factor boxes: E's input at D's resolution. Not differentiable.
Tensor box_downsample(const Context& ctx, const Tensor& x, int64_t factor);

}  // namespace bigbigan
