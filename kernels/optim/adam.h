// The optimiser's update and moving averages over flat vectors; f32 on CUDA, f32 and f64 on the
// CPU. Where `skip` i32 (1) is not zero the update launchers change nothing.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/optim/normalized_weights.h"

namespace bigbigan {

// Flat vectors of n elements; `average` and `packed` may be empty.
struct UpdateArgs {
  View value;
  ConstView grad;
  View m, v;
  ConstView t;     // i64 (1): number of this update, from 1
  ConstView skip;  // i32 (1)
  View average;    // moving average of the values
  View packed;     // bf16: the values as forward passes read them
  double lr = 0, beta1 = 0, beta2 = 0, eps = 0;
  double decay = 0;  // of the average; 0 copies
  // Weights whose `grad` is dL/d(w / sigma): Note [Gradients of normalised weights]. With `sums` of
  // gradient_sums, or none of both.
  NormalizedWeights normalized;
  ConstView sums;
};
// One pass over all of them: dL/dw of normalised weights, Adam (Kingma & Ba 2015, algorithm 1) and
// what follows from the new value:
//   g = (grad - <grad, w> / sigma u^T v) / sigma of a normalised weight, else grad
//   m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2
//   value -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)
//   average = decay average + (1-decay) value;  packed = bf16(value)
void optimizer_update(const CpuExec& ex, const UpdateArgs& args);
void optimizer_update(const CudaExec& ex, const UpdateArgs& args);
// t i64 (1) := t + 1
void increment(const CpuExec& ex, View t);
void increment(const CudaExec& ex, View t);

// average = decay average + (1 - decay) value; decay 0 copies. For what has no optimiser: the
// stored statistics of batch norm.
void ema_update(const CpuExec& ex, View average, ConstView value, double decay, ConstView skip);
void ema_update(const CudaExec& ex, View average, ConstView value, double decay, ConstView skip);

}  // namespace bigbigan
