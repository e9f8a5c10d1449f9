// Sum over all pixels of an image, scaled; f32, f64, bf16.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// y (N, C) = factor times the sum over pixels of x (N, H, W, C).
void global_pool_forward(const CpuExec& ex, ConstView x, double factor, View y);
void global_pool_forward(const CudaExec& ex, ConstView x, double factor, View y);
// d_x (N, H, W, C) (+)= factor d_y (N, C) at each pixel.
void global_pool_backward(const CpuExec& ex, ConstView d_y, double factor, View d_x,
                          bool accumulate);
void global_pool_backward(const CudaExec& ex, ConstView d_y, double factor, View d_x,
                          bool accumulate);

}  // namespace bigbigan
