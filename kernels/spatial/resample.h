// Nearest 2x upsampling, 2x2 averaging and their sums with a second image; NHWC; f32, f64, bf16.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// y (N, 2H, 2W, C) (+)= factor x (N, H, W, C), each pixel repeated 2x2. factor 1 is nearest
// upsampling, 1/4 the gradient of the 2x2 average.
void upsample2x(const CpuExec& ex, ConstView x, double factor, View y, bool accumulate);
void upsample2x(const CudaExec& ex, ConstView x, double factor, View y, bool accumulate);
// y (N, H, W, C) (+)= factor times the sum of each 2x2 window of x (N, 2H, 2W, C). factor 1/4 is
// the average pool, 1 the gradient of the upsampling.
void pool_sum2x2(const CpuExec& ex, ConstView x, double factor, View y, bool accumulate);
void pool_sum2x2(const CudaExec& ex, ConstView x, double factor, View y, bool accumulate);
// y (N, 2H, 2W, C) = a + nearest upsampling of b (N, H, W, C)
void add_upsampled(const CpuExec& ex, ConstView a, ConstView b, View y);
void add_upsampled(const CudaExec& ex, ConstView a, ConstView b, View y);
// y (N, H / factor, W / factor, C) = mean over factor x factor boxes
void box_downsample(const CpuExec& ex, ConstView x, int64_t factor, View y);
void box_downsample(const CudaExec& ex, ConstView x, int64_t factor, View y);

}  // namespace bigbigan
