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

// y (+)= gamma x with gamma (1), both masters; y as x, or rounded to bf16 where it is overwritten.
void scale_by(const CpuExec& ex, ConstView gamma, ConstView x, View y, bool accumulate);
void scale_by(const CudaExec& ex, ConstView gamma, ConstView x, View y, bool accumulate);

// f64 elements of scratch for inner_product of so many elements.
int64_t inner_product_scratch_elems(int64_t elems);
// sum (1) (+)= <a, b> of masters, in fixed order.
void inner_product(const CpuExec& ex, ConstView a, ConstView b, View sum, bool accumulate,
                   View scratch);
void inner_product(const CudaExec& ex, ConstView a, ConstView b, View sum, bool accumulate,
                   View scratch);

}  // namespace bigbigan
