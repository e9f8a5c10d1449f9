// Softmax cross-entropy of a classifier: losses, their gradient and the hits in one pass.
//
//   loss_i = log sum_c exp(x_ic) - x_i,label;   dL/dx_ic = scale (softmax(x_i)_c - [c = label])
//
// f32 and bf16, on the CPU also f64; a row is taken relative to its largest logit, so that no size
// of logit overflows. Sums are taken in f64 in a fixed order.
#pragma once

#include <algorithm>

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// What it leaves of all rows, f64.
enum CrossEntropyTerm : int {
  kCrossEntropyLoss,     // scale * sum of losses
  kCrossEntropyCorrect,  // rows whose label has the largest logit, of equal ones the first
  kCrossEntropyInvalid,  // rows whose label is no class: they have no loss and no gradient
  kCrossEntropyTermCount
};

struct CrossEntropyArgs {
  ConstView logits;         // (N, C)
  ConstView labels;         // i64 (N)
  double scale = 1;         // 1 for the sum, 1 / N for the mean
  View terms;               // f64 (kCrossEntropyTermCount); or empty
  View d_logits;            // (N, C) as the logits; or empty
  bool accumulate = false;  // d_logits +=
  View scratch;             // f64, zeros at first; its first element is zero again afterwards
};
// The rows are summed up in so many parts.
inline constexpr int kCrossEntropyRowsPerPart = 8;
inline int64_t cross_entropy_parts(int64_t rows) {
  return std::max<int64_t>(1, (rows + kCrossEntropyRowsPerPart - 1) / kCrossEntropyRowsPerPart);
}
// Elements of scratch.
inline int64_t cross_entropy_scratch_elems(int64_t rows) {
  return 1 + cross_entropy_parts(rows) * kCrossEntropyTermCount;
}
void softmax_cross_entropy(const CpuExec& ex, const CrossEntropyArgs& args);
void softmax_cross_entropy(const CudaExec& ex, const CrossEntropyArgs& args);

}  // namespace bigbigan
