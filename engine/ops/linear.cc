#include "engine/ops/linear.h"

#include "engine/ops/elementwise.h"
#include "kernels/elementwise/binary.h"
#include "kernels/linear/embedding.h"
#include "kernels/linear/gemm.h"

namespace bigbigan {

Var linear(const Context& ctx, const Var& x, const Var& w, const Var& bias) {
  check(x.shape().rank() == 2 && w.shape().rank() == 2 && x.shape()[1] == w.shape()[1],
        "linear: x is {}, weight {}", x.shape(), w.shape());
  const Tensor y = Tensor::empty(ctx, {x.shape()[0], w.shape()[0]}, x.dtype());
  const bool is_inference = ctx.tape == nullptr && !ctx.batch_statistics;  // Note [Rows alone]
  ctx.run([&](const auto& ex) {
    gemm(ex,
         {.a = x.view(), .b = w.view(), .transpose_b = true, .c = y, .rows_alone = is_inference});
    if (bias) add_bias(ex, y, bias.view(), y);
  });
  return record(ctx, "linear", {x, w, bias}, y, [in = x.value, weight = w.value](Backward& b) {
    const ConstView d_y = b.d_output();
    if (b.wants(0)) {
      const GradTarget d = b.grad(0);
      b.ctx.run([&](const auto& ex) {
        gemm(ex, {.a = d_y, .b = weight, .c = d.view, .accumulate = d.accumulate});
      });
    }
    if (b.wants(1)) {
      const GradTarget d = b.grad(1);
      b.ctx.run([&](const auto& ex) {
        gemm(ex, {.a = d_y, .transpose_a = true, .b = in, .c = d.view, .accumulate = d.accumulate});
      });
    }
    if (b.wants(2)) sum_columns(b.ctx, d_y, b.grad(2));
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
