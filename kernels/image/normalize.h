// Between stored pixels, u8 NHWC, and network images in [-1, 1].
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// y (N, H, W, C), f32, f64 or bf16, = x / 127.5 - 1; row n is mirrored left to right where flip[n]
// is 1. `flip` u8 (N) may be empty.
void normalize_image(const CpuExec& ex, ConstView x, ConstView flip, View y);
void normalize_image(const CudaExec& ex, ConstView x, ConstView flip, View y);
// y u8 = clip(128 (x + 1), 0, 255), truncated; NaN gives 0.
void denormalize_image(const CpuExec& ex, ConstView x, View y);
void denormalize_image(const CudaExec& ex, ConstView x, View y);

}  // namespace bigbigan
