// Unary element-wise operations on tensors of any shape; f32, f64, bf16. Backward launchers write
// d_x = d_y f'(x), or add it where `accumulate`.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// y = max(x, 0); the derivative at 0 is 0. Backward reads the output: y > 0.
void relu_forward(const CpuExec& ex, ConstView x, View y);
void relu_forward(const CudaExec& ex, ConstView x, View y);
void relu_backward(const CpuExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate);
void relu_backward(const CudaExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate);

// y = tanh(x); backward reads the output: 1 - y^2.
void tanh_forward(const CpuExec& ex, ConstView x, View y);
void tanh_forward(const CudaExec& ex, ConstView x, View y);
void tanh_backward(const CpuExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate);
void tanh_backward(const CudaExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate);

// y = log(1 + e^x) = max(x, 0) + log1p(e^-|x|); backward reads the input: 1 / (1 + e^-x).
void softplus_forward(const CpuExec& ex, ConstView x, View y);
void softplus_forward(const CudaExec& ex, ConstView x, View y);
void softplus_backward(const CpuExec& ex, ConstView x, ConstView d_y, View d_x, bool accumulate);
void softplus_backward(const CudaExec& ex, ConstView x, ConstView d_y, View d_x, bool accumulate);

// y = factor x, or y += factor x. factor 1 is a copy.
void scale(const CpuExec& ex, ConstView x, double factor, View y, bool accumulate);
void scale(const CudaExec& ex, ConstView x, double factor, View y, bool accumulate);

// y = x: f32 rounded to bf16, or bf16 as f32; both of any shape and as many elements.
void convert(const CpuExec& ex, ConstView x, View y);
void convert(const CudaExec& ex, ConstView x, View y);

}  // namespace bigbigan
