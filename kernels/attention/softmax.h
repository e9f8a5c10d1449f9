// Softmax over the last axis; f32, f64, bf16.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

void softmax_forward(const CpuExec& ex, ConstView x, View y);
void softmax_forward(const CudaExec& ex, ConstView x, View y);
// d_x (+)= y (d_y - <d_y, y>)
void softmax_backward(const CpuExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate);
void softmax_backward(const CudaExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate);

}  // namespace bigbigan
