// Sums over the rows of a matrix: bias gradients, gradients of broadcast rows.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// Elements of the scratch that column_sum needs for x, of dtype f64.
int64_t column_sum_scratch_elems(const Shape& x);

// Where column sums go: y (C) (+)= the sums.
struct ColumnSums {
  View y;
  bool accumulate = false;
};
// Sums over all leading axes of x (..., C), to `to` and, where it is not empty, to `also`, which
// has the dtype of the former. Chunks of rows are summed in the accumulation type, chunk totals in
// f64 in chunk order. f32, f64, bf16.
void column_sum(const CpuExec& ex, ConstView x, const ColumnSums& to, const ColumnSums& also,
                View scratch);
void column_sum(const CudaExec& ex, ConstView x, const ColumnSums& to, const ColumnSums& also,
                View scratch);

// d (..., C) = d_y where y > 0, else 0, and sums (C) (+)= the column sums of d, in one pass: the
// gradients of what stands in front of a ReLU, and of its bias. y, d_y and d have one dtype.
void relu_backward_sums(const CpuExec& ex, ConstView y, ConstView d_y, View d, View sums,
                        bool accumulate, View scratch);
void relu_backward_sums(const CudaExec& ex, ConstView y, ConstView d_y, View d, View sums,
                        bool accumulate, View scratch);

}  // namespace bigbigan
