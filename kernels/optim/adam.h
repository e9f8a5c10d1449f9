// The optimiser's update, moving averages and norms over flat vectors; f32 on CUDA, f32 and f64 on
// the CPU. Where `skip` i32 (1) is not zero the update launchers change nothing.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

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
};
// One pass over all of them, Adam (Kingma & Ba 2015, algorithm 1) and what follows from the new
// value:
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

// f64 elements of scratch for sum_of_squares.
int64_t sum_of_squares_scratch_elems(int64_t elems);
// sum (1) := sum of squares of x in f64, fixed order; skip := 1 where it is not finite.
void sum_of_squares(const CpuExec& ex, ConstView x, View sum, View skip, View scratch);
void sum_of_squares(const CudaExec& ex, ConstView x, View sum, View skip, View scratch);

}  // namespace bigbigan
