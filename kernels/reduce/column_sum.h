// Sums over the rows of a matrix: bias gradients, gradients of broadcast rows.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// Elements of the scratch that column_sum needs for x, of dtype f64.
int64_t column_sum_scratch_elems(const Shape& x);

// y (C) (+)= sum over all leading axes of x (..., C). Chunks of rows are summed in the accumulation
// type, chunk totals in f64 in chunk order. f32, f64, bf16.
void column_sum(const CpuExec& ex, ConstView x, View y, bool accumulate, View scratch);
void column_sum(const CudaExec& ex, ConstView x, View y, bool accumulate, View scratch);

}  // namespace bigbigan
