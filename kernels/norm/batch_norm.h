// Batch normalisation of x (N, H, W, C) or (N, C), affine or conditional, fused with ReLU and 2x
// upsampling.
//
//   xhat = (x - mean) rstd,  v = xhat (gain + gain_offset) + bias,  y = relu(v), repeated 2x2 where
//   upsample
//
// Moments are (1 + 2 C) f64: [count, mean (C), centred sum of squares (C)]. They are formed by
// Welford merge, never as E[x^2] - E[x]^2: a mean of 1e4 with deviation 1 keeps its digits.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// f64 elements of scratch for batch_moments.
int64_t batch_moments_scratch_elems(const Shape& x);
// moments := moments of x over all axes but the last. f32, f64, bf16.
void batch_moments(const CpuExec& ex, ConstView x, View moments, View scratch);
void batch_moments(const CudaExec& ex, ConstView x, View moments, View scratch);
// moments := merge of the rows of gathered (R, 1 + 2 C), in order; empty rows (count 0) are
// skipped.
void merge_moments(const CpuExec& ex, ConstView gathered, View moments);
void merge_moments(const CudaExec& ex, ConstView gathered, View moments);
// statistics (2, C) f64 := [mean, 1 / sqrt(var + eps)] with the biased variance. All zero for an
// empty batch.
void statistics_of_moments(const CpuExec& ex, ConstView moments, double eps, View statistics);
void statistics_of_moments(const CudaExec& ex, ConstView moments, double eps, View statistics);
// The same from stored mean and variance (C). `shift` (C), which may be empty: a constant that
// belongs to the stored mean and is missing from x.
void statistics_of_stored(const CpuExec& ex, ConstView mean, ConstView variance, ConstView shift,
                          double eps, View statistics);
void statistics_of_stored(const CudaExec& ex, ConstView mean, ConstView variance, ConstView shift,
                          double eps, View statistics);
// running := momentum running + (1 - momentum) batch, whose mean gets `shift` (C), which may be
// empty; a channel whose batch value is not finite, or an empty batch, leaves the running value as
// it was.
void update_running_statistics(const CpuExec& ex, ConstView moments, ConstView shift,
                               double momentum, View running_mean, View running_var);
void update_running_statistics(const CudaExec& ex, ConstView moments, ConstView shift,
                               double momentum, View running_mean, View running_var);

struct BatchNormArgs {
  ConstView x;
  ConstView statistics;  // (2, C) f64: mean, rstd
  ConstView gain, bias;  // (C), (N, C) or empty: 1 and 0
  double gain_offset = 0;
  bool relu = false;
  bool upsample = false;
};

// y: x's shape, or (N, 2H, 2W, C).
void batch_norm_apply(const CpuExec& ex, const BatchNormArgs& args, View y);
void batch_norm_apply(const CudaExec& ex, const BatchNormArgs& args, View y);

// sums (N, 2, C) f64: per sample the sums over pixels of g and of g xhat, where g is d_y summed
// over the upsampled pixel and masked by the ReLU.
void batch_norm_backward_sums(const CpuExec& ex, const BatchNormArgs& args, ConstView d_y,
                              View sums);
void batch_norm_backward_sums(const CudaExec& ex, const BatchNormArgs& args, ConstView d_y,
                              View sums);
// d_gain and d_bias (+)= their part of the sums: per sample where conditional, over samples where
// affine. `which`: 1 for the gain, 0 for the bias.
void batch_norm_backward_parameter(const CpuExec& ex, ConstView sums, int which, View d_parameter,
                                   bool accumulate);
void batch_norm_backward_parameter(const CudaExec& ex, ConstView sums, int which, View d_parameter,
                                   bool accumulate);
// totals (2, C) f64: sums over samples of (gain + gain_offset) times the sums; ranks add them up.
void batch_norm_backward_totals(const CpuExec& ex, const BatchNormArgs& args, ConstView sums,
                                View totals);
void batch_norm_backward_totals(const CudaExec& ex, const BatchNormArgs& args, ConstView sums,
                                View totals);
// d_x (+)= rstd ((gain + offset) g - totals[0] / count - xhat totals[1] / count), the count being
// that of `moments`; without moments (stored statistics) or with a count of 0 both corrections fall
// away.
void batch_norm_backward_x(const CpuExec& ex, const BatchNormArgs& args, ConstView d_y,
                           ConstView totals, ConstView moments, View d_x, bool accumulate);
void batch_norm_backward_x(const CudaExec& ex, const BatchNormArgs& args, ConstView d_y,
                           ConstView totals, ConstView moments, View d_x, bool accumulate);

}  // namespace bigbigan
