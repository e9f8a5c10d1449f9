#include "engine/ops/conv.h"

#include "engine/ops/elementwise.h"
#include "kernels/conv/conv2d.h"
#include "kernels/conv/fold_weight.h"
#include "kernels/elementwise/features.h"
#include "kernels/elementwise/unary.h"
#include "kernels/linear/gemm.h"
#include "kernels/reduce/column_sum.h"

namespace bigbigan {
namespace {

Tensor scratch_for(const Context& ctx, ConvPass pass, const ConvGeometry& g, DType dtype,
                   const ConvExtras& extras) {
  const int64_t bytes =
      ctx.ask([&](const auto& ex) { return conv2d_scratch_bytes(ex, pass, g, dtype, extras); });
  return Tensor::empty(ctx, {bytes}, DType::kU8, MemoryTag::kWorkspace);
}

void fprop(const Context& ctx, const ConvGeometry& g, ConstView x, ConstView w, ConstView bias,
           bool relu, View y) {
  const Tensor scratch = scratch_for(ctx, ConvPass::kFprop, g, x.dtype, {bool(bias), relu});
  ctx.run([&](const auto& ex) { conv2d_fprop(ex, g, x, w, bias, relu, y, scratch); });
}

// A 1x1 convolution is a matrix product of pixels, and libraries of matrix products add to what is
// there: those of convolutions do not, so that their result is written apart and read again.
bool is_added_product(const ConvGeometry& g, ConstView bias, const GradTarget& d_x) {
  return d_x.accumulate && !bias && g.r == 1 && g.s == 1 && g.stride == 1 && g.pad == 0;
}

void dgrad(const Context& ctx, const ConvGeometry& g, ConstView d_y, ConstView w, ConstView bias,
           const GradTarget& d_x) {
  if (is_added_product(g, bias, d_x)) {
    ctx.run(
        [&](const auto& ex) { gemm(ex, {.a = d_y, .b = w, .c = d_x.view, .accumulate = true}); });
    return;
  }
  const Tensor scratch = scratch_for(ctx, ConvPass::kDgrad, g, d_y.dtype,
                                     {.bias = bool(bias), .accumulate = d_x.accumulate});
  ctx.run([&](const auto& ex) {
    conv2d_dgrad(ex, g, d_y, w, bias, d_x.view, d_x.accumulate, scratch);
  });
}

void wgrad(const Context& ctx, const ConvGeometry& g, ConstView x, ConstView d_y,
           const GradTarget& d_w) {
  const Tensor scratch =
      scratch_for(ctx, ConvPass::kWgrad, g, x.dtype, {.accumulate = d_w.accumulate});
  ctx.run([&](const auto& ex) { conv2d_wgrad(ex, g, x, d_y, d_w.view, d_w.accumulate, scratch); });
}

// d_y where the output of the fused ReLU is positive; and its column sums, the gradient of input 2,
// the bias, where that is wanted.
Tensor masked(const Backward& b, const Tensor& y) {
  const Tensor d = Tensor::empty(b.ctx, y.shape(), y.dtype(), MemoryTag::kGradients);
  if (!b.wants(2)) {
    b.ctx.run([&](const auto& ex) { relu_backward(ex, y, b.d_output(), d, false); });
    return d;
  }
  const GradTarget sums = b.grad(2);
  const Tensor scratch = Tensor::empty(b.ctx, {column_sum_scratch_elems(y.shape())}, DType::kF64,
                                       MemoryTag::kWorkspace);
  b.ctx.run([&](const auto& ex) {
    relu_backward_sums(ex, y, b.d_output(), d, sums.view, sums.accumulate, scratch);
  });
  return d;
}

// x (N, H, W, C) with zeros for features from C on; its gradient has `gradient_dtype`.
Var padded(const Context& ctx, const Var& x, int64_t features, DType gradient_dtype) {
  const Shape& s = x.shape();
  const Tensor y = Tensor::zeros(ctx, {s[0], s[1], s[2], features}, x.dtype());
  ctx.run([&](const auto& ex) { copy_features(ex, x.view(), 0, y, 0, x.shape()[3], false); });
  const auto backward = [c = s[3]](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run(
        [&](const auto& ex) { copy_features(ex, b.d_output(), 0, d.view, 0, c, d.accumulate); });
  };
  return record(ctx, "padded", {x}, y, backward, gradient_dtype);
}

}  // namespace

Var conv2d(const Context& ctx, const Var& x, const Var& w, const Var& bias,
           const ConvOptions& options) {
  const ConvGeometry g = conv_geometry(x.shape(), w.shape(), options.stride, options.pad);
  const Tensor y = Tensor::empty(ctx, g.y(), x.dtype());
  fprop(ctx, g, x.view(), w.view(), bias.view(), options.relu, y);
  const Tensor mask = options.relu ? y : Tensor();
  return record(ctx, "conv2d", {x, w, bias}, y,
                [g, mask, in = x.value, weight = w.value](Backward& b) {
                  const Tensor open = mask ? masked(b, mask) : Tensor();
                  const ConstView d_y = open ? ConstView(open) : b.d_output();
                  if (b.wants(0)) dgrad(b.ctx, g, d_y, weight, {}, b.grad(0));
                  if (b.wants(1)) wgrad(b.ctx, g, in, d_y, b.grad(1));
                  if (!mask) bias_gradients(b, d_y, {2});
                });
}

Var conv1x1_add(const Context& ctx, const Var& x, const Var& w, const Var& bias, const Var& addend,
                const Var& addend_bias) {
  const ConvGeometry g = conv_geometry(x.shape(), w.shape(), 1, 0);
  check(g.r == 1 && g.s == 1, "conv1x1_add: weight {}", w.shape());
  check_shape("conv1x1_add", "addend", addend.shape(), g.y());
  const bool trains = ctx.tape != nullptr || ctx.batch_statistics;
  if (!trains) return add(ctx, conv2d(ctx, x, w, bias, {}), addend);
  constexpr int64_t kAligned = 8;  // features, of products in bf16
  if (g.c % kAligned != 0) {
    const int64_t features = (g.c + kAligned - 1) / kAligned * kAligned;
    return conv1x1_add(ctx, padded(ctx, x, features, x.dtype()),
                       padded(ctx, w, features, master_dtype(w.dtype())), bias, addend,
                       addend_bias);
  }
  const Tensor y = Tensor::empty(ctx, g.y(), x.dtype());
  ctx.run([&](const auto& ex) {
    gemm(ex, {.a = x.view(),
              .b = w.view(),
              .transpose_b = true,
              .c = y,
              .addend = addend.view(),
              .bias = bias.view()});
  });
  return record(ctx, "conv1x1_add", {x, w, bias, addend, addend_bias}, y,
                [g, in = x.value, weight = w.value](Backward& b) {
                  const ConstView d_y = b.d_output();
                  b.pass_on(3);
                  if (b.wants(0)) dgrad(b.ctx, g, d_y, weight, {}, b.grad(0));
                  if (b.wants(1)) wgrad(b.ctx, g, in, d_y, b.grad(1));
                  bias_gradients(b, d_y, {2, 4});
                });
}

Var conv2d_transposed(const Context& ctx, const Var& x, const Var& w, const Var& bias,
                      const ConvOptions& options) {
  check(!options.relu, "conv2d_transposed: no fused ReLU");
  check(x.shape().rank() == 4 && w.shape().rank() == 4 && x.shape()[3] == w.shape()[0],
        "conv2d_transposed: x {} with weight {}", x.shape(), w.shape());
  // The convolution whose data gradient this is: it maps y to x.
  const auto grown = [&](int axis) {
    return (x.shape()[axis] - 1) * options.stride - 2 * options.pad + w.shape()[axis];
  };
  const Shape y_shape{x.shape()[0], grown(1), grown(2), w.shape()[3]};
  const ConvGeometry g = conv_geometry(y_shape, w.shape(), options.stride, options.pad);
  const Tensor y = Tensor::empty(ctx, y_shape, x.dtype());
  dgrad(ctx, g, x.view(), w.view(), bias.view(), {y.view(), false});
  return record(
      ctx, "conv2d_transposed", {x, w, bias}, y, [g, in = x.value, weight = w.value](Backward& b) {
        const ConstView d_y = b.d_output();
        if (b.wants(0)) {
          const GradTarget d = b.grad(0);
          const Tensor apart = d.accumulate ? Tensor::empty(b.ctx, g.y(), d.view.dtype) : Tensor();
          fprop(b.ctx, g, d_y, weight, {}, false, apart ? View(apart) : d.view);
          if (apart) b.ctx.run([&](const auto& ex) { scale(ex, apart, 1.0, d.view, true); });
        }
        if (b.wants(1)) wgrad(b.ctx, g, d_y, in, b.grad(1));
        bias_gradients(b, d_y, {2});
      });
}

Var fold_upsample_weight(const Context& ctx, const Var& w) {
  const Tensor v = Tensor::empty(ctx, {w.shape()[3], 4, 4, w.shape()[0]}, ctx.dtype);
  ctx.run([&](const auto& ex) { fold_upsample_weight(ex, w.view(), v); });
  const auto backward = [](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) {
      fold_upsample_weight_backward(ex, b.d_output(), d.view, d.accumulate);
    });
  };
  return record(ctx, "fold_upsample_weight", {w}, v, backward, master_dtype(ctx.dtype));
}

Var fold_avg_pool_weight(const Context& ctx, const Var& w) {
  const Tensor v = Tensor::empty(ctx, {w.shape()[0], 4, 4, w.shape()[3]}, ctx.dtype);
  ctx.run([&](const auto& ex) { fold_avg_pool_weight(ex, w.view(), v); });
  const auto backward = [](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) {
      fold_avg_pool_weight_backward(ex, b.d_output(), d.view, d.accumulate);
    });
  };
  return record(ctx, "fold_avg_pool_weight", {w}, v, backward, master_dtype(ctx.dtype));
}

}  // namespace bigbigan
