#include "kernels/bench/replay.h"

#include <optional>

#include "engine/ops/random.h"
#include "kernels/conv/conv2d.h"
#include "kernels/linear/gemm.h"

namespace bigbigan {
namespace {

Tensor operand(const Context& ctx, const Shape& shape) {
  const Tensor first = Tensor::zeros(ctx, {1}, DType::kI64);
  return random_uniform(ctx, {}, first, shape);
}

// Sizes: n h w c k r s stride pad, whether there is a bias, and ReLU (fprop) or accumulate (the
// gradients).
struct Convolution {
  ConvPass pass;
  ConvGeometry g;
  bool has_bias, flag;

  Convolution(ConvPass which, const std::vector<int64_t>& s)
      : pass(which),
        g(conv_geometry({s[0], s[1], s[2], s[3]}, {s[4], s[5], s[6], s[3]}, s[7], s[8])),
        has_bias(s[9] != 0),
        flag(s[10] != 0) {}
};

Replay replay_of(const Context& ctx, const Convolution& c) {
  const Tensor x = operand(ctx, c.g.x()), w = operand(ctx, c.g.weight()), y = operand(ctx, c.g.y());
  const bool is_fprop = c.pass == ConvPass::kFprop;
  const Tensor bias = c.has_bias ? operand(ctx, {is_fprop ? c.g.k : c.g.c}) : Tensor();
  const ConvExtras extras{c.has_bias, is_fprop && c.flag, !is_fprop && c.flag};
  const int64_t bytes = conv2d_scratch_bytes(CpuExec{}, c.pass, c.g, DType::kF32, extras);
  const Tensor scratch = Tensor::empty(ctx, {bytes}, DType::kU8);
  switch (c.pass) {
    case ConvPass::kFprop:
      return [=](const CpuExec& ex) { conv2d_fprop(ex, c.g, x, w, bias, c.flag, y, scratch); };
    case ConvPass::kDgrad:
      return [=](const CpuExec& ex) { conv2d_dgrad(ex, c.g, y, w, bias, x, c.flag, scratch); };
    case ConvPass::kWgrad:
      return [=](const CpuExec& ex) { conv2d_wgrad(ex, c.g, x, y, w, c.flag, scratch); };
  }
  return {};
}

// Sizes: m n k, whether a and b are stored transposed, accumulate.
Replay replay_of_product(const Context& ctx, const std::vector<int64_t>& s) {
  const int64_t m = s[0], n = s[1], k = s[2];
  const bool transpose_a = s[3] != 0, transpose_b = s[4] != 0, accumulate = s[5] != 0;
  const Tensor a = operand(ctx, transpose_a ? Shape{k, m} : Shape{m, k});
  const Tensor b = operand(ctx, transpose_b ? Shape{n, k} : Shape{k, n});
  const Tensor c = operand(ctx, {m, n});
  return [=](const CpuExec& ex) {
    gemm(ex, {.a = a,
              .transpose_a = transpose_a,
              .b = b,
              .transpose_b = transpose_b,
              .c = c,
              .accumulate = accumulate});
  };
}

std::optional<Convolution> convolution_of(const KernelProfile::Call& call) {
  if (call.launcher == "conv2d_fprop") return Convolution(ConvPass::kFprop, call.sizes);
  if (call.launcher == "conv2d_dgrad") return Convolution(ConvPass::kDgrad, call.sizes);
  if (call.launcher == "conv2d_wgrad") return Convolution(ConvPass::kWgrad, call.sizes);
  check(call.launcher == "gemm", "bench: {} cannot be run again", call.launcher);
  return {};
}

}  // namespace

Replay replay_of(const Context& ctx, const KernelProfile::Call& call) {
  const auto convolution = convolution_of(call);
  return convolution ? replay_of(ctx, *convolution) : replay_of_product(ctx, call.sizes);
}

double flops_of(const KernelProfile::Call& call) {
  if (const auto convolution = convolution_of(call)) return convolution->g.flops();
  return 2.0 * static_cast<double>(call.sizes[0] * call.sizes[1] * call.sizes[2]);
}

}  // namespace bigbigan
