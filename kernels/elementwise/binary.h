// Sums of tensors, learned scalars and bias vectors; f32, f64, bf16.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// y = a + b, all of one shape.
void add(const CpuExec& ex, ConstView a, ConstView b, View y);
void add(const CudaExec& ex, ConstView a, ConstView b, View y);

// y (..., C) = x (..., C) + bias (C)
void add_bias(const CpuExec& ex, ConstView x, ConstView bias, View y);
void add_bias(const CudaExec& ex, ConstView x, ConstView bias, View y);

// y = x + gamma b with gamma (1).
void add_scaled_forward(const CpuExec& ex, ConstView x, ConstView gamma, ConstView b, View y);
void add_scaled_forward(const CudaExec& ex, ConstView x, ConstView gamma, ConstView b, View y);
// d_b (+)= gamma d_y
void add_scaled_backward_b(const CpuExec& ex, ConstView gamma, ConstView d_y, View d_b,
                           bool accumulate);
void add_scaled_backward_b(const CudaExec& ex, ConstView gamma, ConstView d_y, View d_b,
                           bool accumulate);
// Elements of the scratch that add_scaled_backward_gamma needs for b, of dtype f64.
int64_t add_scaled_scratch_elems(const Shape& b);
// d_gamma (1) (+)= <d_y, b>, in fixed order.
void add_scaled_backward_gamma(const CpuExec& ex, ConstView b, ConstView d_y, View d_gamma,
                               bool accumulate, View scratch);
void add_scaled_backward_gamma(const CudaExec& ex, ConstView b, ConstView d_y, View d_gamma,
                               bool accumulate, View scratch);

}  // namespace bigbigan
