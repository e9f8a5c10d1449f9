// Sums over a flat gradient: its norm, and what the optimiser needs of the weights under spectral
// norm. Note [Gradients of normalised weights]. f32 on CUDA, f32 and f64 on the CPU.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/optim/normalized_weights.h"

namespace bigbigan {

// f64 elements of scratch for gradient_sums of n elements.
int64_t gradient_sums_scratch_elems(int64_t n, const NormalizedWeights& weights);
// value, grad (n): A and w of the normalised weights, or parts of them, among other parameters.
// sums: gradient_sums_shape, f64, in fixed order; overwritten, or added to:
//   row i:    |A|^2, <A, w>, <A, u^T v> of normalised weight i
//   last row: sum of squares of the other gradients, 0, 0
void gradient_sums(const CpuExec& ex, ConstView value, ConstView grad,
                   const NormalizedWeights& weights, View sums, bool accumulate, View scratch);
void gradient_sums(const CudaExec& ex, ConstView value, ConstView grad,
                   const NormalizedWeights& weights, View sums, bool accumulate, View scratch);

// squared_norm (1) := |gradient|^2, those of normalised weights as dL/dw; skip i32 (1) := 1 where
// it is not finite in f64.
void gradient_norm(const CpuExec& ex, const NormalizedWeights& weights, ConstView sums,
                   View squared_norm, View skip);
void gradient_norm(const CudaExec& ex, const NormalizedWeights& weights, ConstView sums,
                   View squared_norm, View skip);

}  // namespace bigbigan
