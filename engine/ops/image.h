// From stored pixels to network input.
#pragma once

#include "engine/core/tensor.h"

namespace bigbigan {

// u8 (N, H, W, C) -> ctx.dtype in [-1, 1] by x / 127.5 - 1, mirrored left to right where flip (N)
// u8 is 1; `flip` may be empty.
Tensor normalize_image(const Context& ctx, const Tensor& pixels, const Tensor& flip);
// [-1, 1] -> u8: clip(128 (x + 1), 0, 255), truncated.
Tensor denormalize_image(const Context& ctx, const Tensor& image);

}  // namespace bigbigan
