// 3x3 weights folded with a 2x2 resampling into 4x4 weights, and the adjoint maps. f32, f64;
// v also bf16, of w in f32: sums are formed in f32 and rounded once.
//
// Along one axis, with w = (w0, w1, w2):
//   upsample: v = (w2, w1 + w2, w0 + w1, w0)            d_w = (dv2 + dv3, dv1 + dv2, dv0 + dv1)
//   average:  v = (w0, w0 + w1, w1 + w2, w2) / 2        d_wk = (dvk + dvk+1) / 2
// In two dimensions both are the tensor product.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// w (K, 3, 3, C) -> v (C, 4, 4, K): 3x3 after nearest 2x upsampling as a transposed convolution.
void fold_upsample_weight(const CpuExec& ex, ConstView w, View v);
void fold_upsample_weight(const CudaExec& ex, ConstView w, View v);
void fold_upsample_weight_backward(const CpuExec& ex, ConstView d_v, View d_w, bool accumulate);
void fold_upsample_weight_backward(const CudaExec& ex, ConstView d_v, View d_w, bool accumulate);

// w (K, 3, 3, C) -> v (K, 4, 4, C): 3x3 before a 2x2 average pool as a strided convolution.
void fold_avg_pool_weight(const CpuExec& ex, ConstView w, View v);
void fold_avg_pool_weight(const CudaExec& ex, ConstView w, View v);
void fold_avg_pool_weight_backward(const CpuExec& ex, ConstView d_v, View d_w, bool accumulate);
void fold_avg_pool_weight_backward(const CudaExec& ex, ConstView d_v, View d_w, bool accumulate);

}  // namespace bigbigan
