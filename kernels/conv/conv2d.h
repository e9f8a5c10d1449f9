// 2-D convolution of NHWC images with KRSC weights, and its two gradients: three launchers of their
// own.
//
// y[n,p,q,k] = bias[k] + sum_{r,s,c} x[n, p stride + r - pad, q stride + s - pad, c] w[k,r,s,c],
// zero outside x. CPU: f32 by oneDNN, f64 by loops (the oracle of the former), bf16 through f32.
// CUDA: f32 (without TF32) and bf16 by cuDNN, accumulated in f32. All operands have one dtype, but
// the gradient of bf16 weights is f32 (on CUDA rounded to bf16 before it is added).
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// Sizes of one convolution: x (n, h, w, c), weight (k, r, s, c), y (n, p, q, k).
struct ConvGeometry {
  int64_t n = 0, h = 0, w = 0, c = 0;
  int64_t k = 0, r = 0, s = 0;
  int64_t stride = 1, pad = 0;
  int64_t p = 0, q = 0;

  [[nodiscard]] Shape x() const { return {n, h, w, c}; }
  [[nodiscard]] Shape weight() const { return {k, r, s, c}; }
  [[nodiscard]] Shape y() const { return {n, p, q, k}; }
  // Multiply-adds count two.
  [[nodiscard]] double flops() const { return 2.0 * n * p * q * k * r * s * c; }
};

// From the shapes of x and w; p = (h + 2 pad - r) / stride + 1. Throws Error{kInternal} where they
// do not fit.
ConvGeometry conv_geometry(const Shape& x, const Shape& w, int64_t stride, int64_t pad);

enum class ConvPass : uint8_t { kFprop, kDgrad, kWgrad };
// What a pass does besides the convolution: libraries have kernels of their own for it.
struct ConvExtras {
  bool bias = false, relu = false, accumulate = false;
};
// Bytes of scratch (u8) that a pass needs: for weights in the library's layout, partial sums and
// the library's workspace. `extras` are those of the launch that gets it.
int64_t conv2d_scratch_bytes(const CpuExec& ex, ConvPass pass, const ConvGeometry& g, DType dtype,
                             const ConvExtras& extras);
int64_t conv2d_scratch_bytes(const CudaExec& ex, ConvPass pass, const ConvGeometry& g, DType dtype,
                             const ConvExtras& extras);

// Name and version of the library behind the CUDA launchers: "cuDNN 9.19.0". Throws as they do.
std::string conv2d_library();

// y = conv(x, w) + bias, then max(., 0) where `relu`. `bias` (k) may be empty.
void conv2d_fprop(const CpuExec& ex, const ConvGeometry& g, ConstView x, ConstView w,
                  ConstView bias, bool relu, View y, View scratch);
void conv2d_fprop(const CudaExec& ex, const ConvGeometry& g, ConstView x, ConstView w,
                  ConstView bias, bool relu, View y, View scratch);

// d_x (+)= gradient of x. `bias` (c), which may be empty, is added to each pixel of d_x: a
// transposed convolution is this map used forwards.
void conv2d_dgrad(const CpuExec& ex, const ConvGeometry& g, ConstView d_y, ConstView w,
                  ConstView bias, View d_x, bool accumulate, View scratch);
void conv2d_dgrad(const CudaExec& ex, const ConvGeometry& g, ConstView d_y, ConstView w,
                  ConstView bias, View d_x, bool accumulate, View scratch);

// d_w (+)= gradient of w, in master_dtype(x); fixed chunks of samples, added in order.
void conv2d_wgrad(const CpuExec& ex, const ConvGeometry& g, ConstView x, ConstView d_y, View d_w,
                  bool accumulate, View scratch);
void conv2d_wgrad(const CudaExec& ex, const ConvGeometry& g, ConstView x, ConstView d_y, View d_w,
                  bool accumulate, View scratch);

}  // namespace bigbigan
