#include "engine/ops/linear.h"

#include "engine/ops/elementwise.h"
#include "kernels/elementwise/unary.h"
#include "kernels/linear/embedding.h"
#include "kernels/linear/gemm.h"

namespace bigbigan {
namespace {

// Gradients of the inputs `weight` and `bias` of y = in w^T + bias, from one product.
void weight_gradients(Backward& b, int weight, int bias, ConstView d_y, ConstView in) {
  if (!b.wants(weight) && !b.wants(bias)) return;
  const DType master = master_dtype(d_y.dtype);
  Tensor unused, sums;  // a weight that wants none; a bias gradient before it is added
  GradTarget d_w, d_bias;
  if (b.wants(weight)) {
    d_w = b.grad(weight);
  } else {
    unused = Tensor::empty(b.ctx, {d_y.shape[1], in.shape[1]}, master);
    d_w.view = unused;
  }
  if (b.wants(bias)) d_bias = b.grad(bias);
  if (d_bias.accumulate) sums = Tensor::empty(b.ctx, d_bias.view.shape, master);
  b.ctx.run([&](const auto& ex) {
    gemm(ex, {.a = d_y,
              .transpose_a = true,
              .b = in,
              .c = d_w.view,
              .accumulate = d_w.accumulate,
              .a_sums = d_bias.accumulate ? sums.view() : d_bias.view});
    if (d_bias.accumulate) scale(ex, sums, 1.0, d_bias.view, true);
  });
}

void input_gradient(Backward& b, int input, ConstView d_y, ConstView weight) {
  if (!b.wants(input)) return;
  const GradTarget d = b.grad(input);
  b.ctx.run([&](const auto& ex) {
    gemm(ex, {.a = d_y, .b = weight, .c = d.view, .accumulate = d.accumulate});
  });
}

bool is_inference(const Context& ctx) {  // Note [Rows alone]
  return ctx.tape == nullptr && !ctx.batch_statistics;
}

}  // namespace

Var linear(const Context& ctx, const Var& x, const Var& w, const Var& bias) {
  check(x.shape().rank() == 2 && w.shape().rank() == 2 && x.shape()[1] == w.shape()[1],
        "linear: x is {}, weight {}", x.shape(), w.shape());
  const Tensor y = Tensor::empty(ctx, {x.shape()[0], w.shape()[0]}, x.dtype());
  ctx.run([&](const auto& ex) {
    gemm(ex, {.a = x.view(),
              .b = w.view(),
              .transpose_b = true,
              .c = y,
              .rows_alone = is_inference(ctx),
              .bias = bias.view()});
  });
  return record(ctx, "linear", {x, w, bias}, y, [in = x.value, weight = w.value](Backward& b) {
    input_gradient(b, 0, b.d_output(), weight);
    weight_gradients(b, 1, 2, b.d_output(), in);
  });
}

Var residual_layers(const Context& ctx, const Var& x, const Var& w_1, const Var& bias_1,
                    const Var& w_2, const Var& bias_2, const Var& skip) {
  const int64_t n = x.shape()[0], inner = w_1.shape()[0];
  const Tensor hidden = Tensor::empty(ctx, {n, inner}, x.dtype());
  const Tensor positive =
      ctx.tape == nullptr ? Tensor() : Tensor::empty(ctx, gemm_mask_shape(n, inner), DType::kU8);
  const Tensor y = Tensor::empty(ctx, {n, w_2.shape()[0]}, x.dtype());
  ctx.run([&](const auto& ex) {
    gemm(ex, {.a = x.view(),
              .b = w_1.view(),
              .transpose_b = true,
              .c = hidden,
              .rows_alone = is_inference(ctx),
              .bias = bias_1.view(),
              .relu = true,
              .positive = positive});
    gemm(ex, {.a = hidden,
              .b = w_2.view(),
              .transpose_b = true,
              .c = y,
              .rows_alone = is_inference(ctx),
              .addend = skip.view(),
              .bias = bias_2.view()});
  });
  return record(
      ctx, "residual_layers", {x, w_1, bias_1, w_2, bias_2, skip}, y,
      [in = x.value, weight_1 = w_1.value, weight_2 = w_2.value, hidden, positive](Backward& b) {
        const ConstView d_y = b.d_output();
        b.pass_on(5);
        weight_gradients(b, 3, 4, d_y, hidden);
        if (!b.wants(0) && !b.wants(1) && !b.wants(2)) return;
        const Tensor d_hidden = Tensor::empty(b.ctx, hidden.shape(), hidden.dtype());
        b.ctx.run([&](const auto& ex) {
          gemm(ex, {.a = d_y, .b = weight_2, .c = d_hidden, .only_where = positive});
        });
        weight_gradients(b, 1, 2, d_hidden, in);
        input_gradient(b, 0, d_hidden, weight_1);
      });
}

Var embedding(const Context& ctx, const Var& table, const Tensor& labels) {
  const Tensor y = Tensor::empty(ctx, {labels.shape()[0], table.shape()[1]}, table.dtype());
  ctx.run([&](const auto& ex) { embedding_forward(ex, table.view(), labels, y); });
  return record(ctx, "embedding", {table}, y, [labels](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) {
      embedding_backward(ex, labels, b.d_output(), d.view, d.accumulate);
    });
  });
}

}  // namespace bigbigan
