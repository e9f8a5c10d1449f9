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
// What a batch norm keeps of a batch.
struct BatchStatistics {
  double eps = 0;
  View moments;
  View statistics;  // (2, C) f64: mean, 1 / sqrt(var + eps) with the biased variance; all zero for
                    // an empty batch
  // Where not empty: running (C) := momentum running + (1 - momentum) batch, whose mean gets
  // `shift` (C), which may be empty; a channel whose batch value is not finite, or an empty batch,
  // leaves the running value as it was.
  View running_mean, running_var;
  ConstView shift;
  double momentum = 0;
};
// The statistics of x; scratch as for batch_moments.
void batch_statistics(const CpuExec& ex, ConstView x, const BatchStatistics& out, View scratch);
void batch_statistics(const CudaExec& ex, ConstView x, const BatchStatistics& out, View scratch);
// The same of the batch whose parts have the moments `gathered` (R, 1 + 2 C), merged in an order
// that R alone decides; empty parts (count 0) are skipped.
void merged_statistics(const CpuExec& ex, ConstView gathered, const BatchStatistics& out);
void merged_statistics(const CudaExec& ex, ConstView gathered, const BatchStatistics& out);
// statistics (2, C) f64 from stored mean and variance (C). `shift` (C), which may be empty: a
// constant that belongs to the stored mean and is missing from x.
void statistics_of_stored(const CpuExec& ex, ConstView mean, ConstView variance, ConstView shift,
                          double eps, View statistics);
void statistics_of_stored(const CudaExec& ex, ConstView mean, ConstView variance, ConstView shift,
                          double eps, View statistics);

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
// Where the gradient of gain or bias goes, per sample (N, C) or summed over samples (C); nowhere
// where it is empty.
struct BatchNormGradient {
  View view;
  bool accumulate = false;
};
// totals (2, C) f64: sums over samples of (gain + gain_offset) times the sums; ranks add them up.
// d_gain and d_bias (+)= their part of the sums. They have one dtype.
void batch_norm_backward_totals(const CpuExec& ex, const BatchNormArgs& args, ConstView sums,
                                View totals, const BatchNormGradient& d_gain,
                                const BatchNormGradient& d_bias);
void batch_norm_backward_totals(const CudaExec& ex, const BatchNormArgs& args, ConstView sums,
                                View totals, const BatchNormGradient& d_gain,
                                const BatchNormGradient& d_bias);
// d_x (+)= rstd ((gain + offset) g - totals[0] / count - xhat totals[1] / count), the count being
// that of `moments`; without moments (stored statistics) or with a count of 0 both corrections fall
// away.
void batch_norm_backward_x(const CpuExec& ex, const BatchNormArgs& args, ConstView d_y,
                           ConstView totals, ConstView moments, View d_x, bool accumulate);
void batch_norm_backward_x(const CudaExec& ex, const BatchNormArgs& args, ConstView d_y,
                           ConstView totals, ConstView moments, View d_x, bool accumulate);

}  // namespace bigbigan
