// Max pooling with stored positions; NHWC; f32, f64, bf16.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// Windows of size x size, stride 2, with `pad` rows and columns of zeros on each side that take
// part in the maximum (explicit zero padding, as in the ResNet of the paper's reference [20]).
struct MaxPoolWindow {
  int64_t size = 2;
  int64_t pad = 0;
};

// (N, P, Q, C) with P = (H + 2 pad - size) / 2 + 1. Throws Error{kInternal} for a window that does
// not fit.
Shape max_pool_shape(const Shape& x, const MaxPoolWindow& window);

// y, and in `argmax` (u8, y's shape) the number of the winning element of the window, row-major;
// the first among equals.
void max_pool_forward(const CpuExec& ex, const MaxPoolWindow& window, ConstView x, View y,
                      View argmax);
void max_pool_forward(const CudaExec& ex, const MaxPoolWindow& window, ConstView x, View y,
                      View argmax);
// d_x (+)= d_y at the winners; windows overlap, sums in order of the windows.
void max_pool_backward(const CpuExec& ex, const MaxPoolWindow& window, ConstView argmax,
                       ConstView d_y, View d_x, bool accumulate);
void max_pool_backward(const CudaExec& ex, const MaxPoolWindow& window, ConstView argmax,
                       ConstView d_y, View d_x, bool accumulate);

}  // namespace bigbigan
