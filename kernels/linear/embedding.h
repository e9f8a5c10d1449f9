// Rows of a table picked by label; f32, f64, bf16. The gradient of a bf16 table is f32.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// y (N, D) = table[labels[n]]; labels i32 (N). For a label outside the table the CPU throws
// Error{kInternal}; a device cannot throw, and gives a row of NaN.
void embedding_forward(const CpuExec& ex, ConstView table, ConstView labels, View y);
void embedding_forward(const CudaExec& ex, ConstView table, ConstView labels, View y);
// d_table[labels[n]] (+)= d_y[n], in order of n.
void embedding_backward(const CpuExec& ex, ConstView labels, ConstView d_y, View d_table,
                        bool accumulate);
void embedding_backward(const CudaExec& ex, ConstView labels, ConstView d_y, View d_table,
                        bool accumulate);

}  // namespace bigbigan
