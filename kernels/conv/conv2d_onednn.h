// Convolution by oneDNN, f32: chunks of samples, each a one-thread primitive (Note [One-thread
// primitives]).
#pragma once

#include "kernels/conv/conv2d.h"

namespace bigbigan::onednn {

int64_t conv2d_scratch_bytes(ConvPass pass, const ConvGeometry& g);
void conv2d_fprop(const CpuExec& ex, const ConvGeometry& g, const float* x, const float* w,
                  const float* bias, bool relu, float* y, View scratch);
void conv2d_dgrad(const CpuExec& ex, const ConvGeometry& g, const float* d_y, const float* w,
                  const float* bias, float* d_x, bool accumulate, View scratch);
void conv2d_wgrad(const CpuExec& ex, const ConvGeometry& g, const float* x, const float* d_y,
                  float* d_w, bool accumulate, View scratch);

}  // namespace bigbigan::onednn
