#include "engine/ops/spatial.h"

#include <array>

#include "engine/ops/elementwise.h"
#include "kernels/elementwise/unary.h"
#include "kernels/spatial/global_pool.h"
#include "kernels/spatial/max_pool.h"
#include "kernels/spatial/relu_pool.h"
#include "kernels/spatial/resample.h"

namespace bigbigan {
namespace {

Shape doubled(const Shape& s) { return {s[0], 2 * s[1], 2 * s[2], s[3]}; }

Shape halved(const char* op, const Shape& s) {
  check(s.rank() == 4 && s[1] % 2 == 0 && s[2] % 2 == 0,
        "{}: {} is not an image batch of even size", op, s);
  return {s[0], s[1] / 2, s[2] / 2, s[3]};
}

Var max_pool(const Context& ctx, const Var& x, const MaxPoolWindow& window) {
  const Tensor y = Tensor::empty(ctx, max_pool_shape(x.shape(), window), x.dtype());
  const Tensor argmax = Tensor::empty(ctx, y.shape(), DType::kU8);
  ctx.run([&](const auto& ex) { max_pool_forward(ex, window, x.view(), y, argmax); });
  return record(ctx, "max_pool", {x}, y, [window, argmax](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) {
      max_pool_backward(ex, window, argmax, b.d_output(), d.view, d.accumulate);
    });
  });
}

Var global_pool(const Context& ctx, const Var& x, double factor) {
  const Tensor y = Tensor::empty(ctx, {x.shape()[0], x.shape()[-1]}, x.dtype());
  ctx.run([&](const auto& ex) { global_pool_forward(ex, x.view(), factor, y); });
  return record(ctx, "global_pool", {x}, y, [factor](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) {
      global_pool_backward(ex, b.d_output(), factor, d.view, d.accumulate);
    });
  });
}

}  // namespace

Var upsample2x(const Context& ctx, const Var& x) {
  check(x.shape().rank() == 4, "upsample2x: {} is not an image batch", x.shape());
  const Tensor y = Tensor::empty(ctx, doubled(x.shape()), x.dtype());
  ctx.run([&](const auto& ex) { upsample2x(ex, x.view(), 1.0, y, false); });
  return record(ctx, "upsample2x", {x}, y, [](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) { pool_sum2x2(ex, b.d_output(), 1.0, d.view, d.accumulate); });
  });
}

Var avg_pool2x2(const Context& ctx, const Var& x) {
  const Tensor y = Tensor::empty(ctx, halved("avg_pool2x2", x.shape()), x.dtype());
  ctx.run([&](const auto& ex) { pool_sum2x2(ex, x.view(), 0.25, y, false); });
  return record(ctx, "avg_pool2x2", {x}, y, [](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) { upsample2x(ex, b.d_output(), 0.25, d.view, d.accumulate); });
  });
}

Var max_pool2x2(const Context& ctx, const Var& x) {
  return max_pool(ctx, x, {.size = 2, .pad = 0});
}

Var max_pool3x3s2(const Context& ctx, const Var& x) {
  return max_pool(ctx, x, {.size = 3, .pad = 1});
}

Var global_sum_pool(const Context& ctx, const Var& x) { return global_pool(ctx, x, 1.0); }

Var global_avg_pool(const Context& ctx, const Var& x) {
  const int64_t pixels = x.shape()[1] * x.shape()[2];
  return global_pool(ctx, x, 1.0 / static_cast<double>(std::max<int64_t>(pixels, 1)));
}

Var add_upsampled(const Context& ctx, const Var& a, const Var& b, const Var& bias_a,
                  const Var& bias_b) {
  const Tensor y = Tensor::empty(ctx, a.shape(), a.dtype());
  ctx.run([&](const auto& ex) { add_upsampled(ex, a.view(), b.view(), y); });
  const auto backward = [small = b.shape()](Backward& back) {
    back.pass_on(0);
    const auto pool_into = [&](View pooled, bool accumulate) {
      back.ctx.run(
          [&](const auto& ex) { pool_sum2x2(ex, back.d_output(), 1.0, pooled, accumulate); });
    };
    ConstView pooled;
    if (back.wants(1)) {
      const GradTarget d = back.grad(1);
      pool_into(d.view, d.accumulate);
      if (!d.accumulate) pooled = d.view;
    }
    if (!back.wants(2) && !back.wants(3)) return;
    // Sums over a quarter of the pixels; always over these, so that bits do not depend on who wants
    // a gradient.
    const Tensor apart = pooled ? Tensor() : Tensor::empty(back.ctx, small, back.d_output().dtype);
    if (!pooled) pool_into(apart, false);
    bias_gradients(back, pooled ? pooled : ConstView(apart), {2, 3});
  };
  return record(ctx, "add_upsampled", {a, b, bias_a, bias_b}, y, backward);
}

std::pair<Var, Var> relu_avg_pool2x2(const Context& ctx, const Var& x) {
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
  const Tensor pooled = Tensor::empty(ctx, halved("relu_avg_pool2x2", x.shape()), x.dtype());
  ctx.run([&](const auto& ex) { relu_pool_forward(ex, x.view(), y, pooled); });
  if (ctx.tape == nullptr) return {y, pooled};
  const std::vector<Var> vars =
      ctx.tape->record("relu_avg_pool2x2", {&x, 1}, std::array{y, pooled}, [y](Backward& b) {
        const GradTarget d = b.grad(0);
        b.ctx.run([&](const auto& ex) {
          relu_pool_backward(ex, y, b.d_output(0), b.d_output(1), d.view, d.accumulate);
        });
      });
  return {vars[0], vars[1]};
}

Tensor box_downsample(const Context& ctx, const Tensor& x, int64_t factor) {
  const Shape& s = x.shape();
  const Tensor y = Tensor::empty(ctx, {s[0], s[1] / factor, s[2] / factor, s[3]}, x.dtype());
  ctx.run([&](const auto& ex) { box_downsample(ex, x, factor, y); });
  return y;
}

}  // namespace bigbigan
