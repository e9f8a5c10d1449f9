// ReLU and 2x2 average pool of one image, read once: what the two branches of a residual block that
// halves its image begin with. NHWC; f32, f64, bf16.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// y = max(x, 0) of x (N, 2H, 2W, C), and pooled (N, H, W, C), the means of its 2x2 windows.
void relu_pool_forward(const CpuExec& ex, ConstView x, View y, View pooled);
void relu_pool_forward(const CudaExec& ex, ConstView x, View y, View pooled);
// d_x (+)= d_y where y > 0, plus a quarter of d_pooled.
void relu_pool_backward(const CpuExec& ex, ConstView y, ConstView d_y, ConstView d_pooled, View d_x,
                        bool accumulate);
void relu_pool_backward(const CudaExec& ex, ConstView y, ConstView d_y, ConstView d_pooled,
                        View d_x, bool accumulate);

}  // namespace bigbigan
