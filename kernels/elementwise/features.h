// Copies between ranges of the last axis: concatenation, slices and their gradients.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// y[..., y_begin : y_begin + count] (+)= x[..., x_begin : x_begin + count]; equal leading axes.
// f32, f64, bf16.
void copy_features(const CpuExec& ex, ConstView x, int64_t x_begin, View y, int64_t y_begin,
                   int64_t count, bool accumulate);
void copy_features(const CudaExec& ex, ConstView x, int64_t x_begin, View y, int64_t y_begin,
                   int64_t count, bool accumulate);

}  // namespace bigbigan
