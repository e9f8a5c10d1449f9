// Fused attention of BigGAN's non-local block: y = softmax(query key^T) value, no 1/sqrt(D).
//
// query (N, Q, D), key (N, K, D), value (N, K, V), y (N, Q, V), log_sum (N, Q) = log sum_k
// exp(score). Scores live in tiles: the (Q, K) matrix is never stored. f32, bf16, and
// f64 on the CPU; log_sum of bf16 is f32. On CUDA D <= 64 and V <= 192.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

void attention_forward(const CpuExec& ex, ConstView query, ConstView key, ConstView value, View y,
                       View log_sum);
void attention_forward(const CudaExec& ex, ConstView query, ConstView key, ConstView value, View y,
                       View log_sum);

struct AttentionBackwardArgs {
  ConstView query, key, value, y, log_sum, d_y;
  View d_query, d_key, d_value;  // each may be empty
  bool accumulate_query = false, accumulate_key = false, accumulate_value = false;
};
void attention_backward(const CpuExec& ex, const AttentionBackwardArgs& args);
void attention_backward(const CudaExec& ex, const AttentionBackwardArgs& args);

}  // namespace bigbigan
