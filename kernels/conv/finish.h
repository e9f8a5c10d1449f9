// What a library leaves to be done behind a convolution: bias, ReLU, widening, adding to a
// gradient.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// to (..., c) (+)= from (..., c) + bias (c), then max(., 0) where `relu`. `bias` may be empty, and
// `from` may be `to` unless `accumulate`. Both have one dtype, or bf16 becomes f32. CUDA alone: the
// CPU's convolutions finish what they begin.
void conv2d_finish(const CudaExec& ex, ConstView from, ConstView bias, bool relu, View to,
                   bool accumulate);

}  // namespace bigbigan
