#include "engine/ops/attention.h"

#include <array>

#include "kernels/attention/attention.h"
#include "kernels/attention/projections.h"
#include "kernels/attention/softmax.h"
#include "kernels/linear/gemm.h"

namespace bigbigan {

Var attention(const Context& ctx, const Var& query, const Var& key, const Var& value) {
  const int64_t n = query.shape()[0], queries = query.shape()[1];
  const Tensor y = Tensor::empty(ctx, {n, queries, value.shape()[-1]}, query.dtype());
  // Rounded to bf16, log_sum would turn the weights of backward by several percent.
  const DType log_dtype = query.dtype() == DType::kBF16 ? DType::kF32 : query.dtype();
  const Tensor log_sum = Tensor::empty(ctx, {n, queries}, log_dtype);
  ctx.run([&](const auto& ex) {
    attention_forward(ex, query.view(), key.view(), value.view(), y, log_sum);
  });
  return record(
      ctx, "attention", {query, key, value}, y,
      [q = query.value, k = key.value, v = value.value, y, log_sum](Backward& b) {
        AttentionBackwardArgs args{
            .query = q, .key = k, .value = v, .y = y, .log_sum = log_sum, .d_y = b.d_output()};
        const auto ask = [&](int i, View& view, bool& accumulate) {
          if (!b.wants(i)) return;
          const GradTarget d = b.grad(i);
          view = d.view;
          accumulate = d.accumulate;
        };
        ask(0, args.d_query, args.accumulate_query);
        ask(1, args.d_key, args.accumulate_key);
        ask(2, args.d_value, args.accumulate_value);
        b.ctx.run([&](const auto& ex) { attention_backward(ex, args); });
      });
}

Var join_weights(const Context& ctx, const Var& theta, const Var& phi, const Var& g) {
  const Shape &a = theta.shape(), &b = phi.shape(), &c = g.shape();
  const Tensor joint = Tensor::empty(ctx, a.with_dim0(a[0] + b[0] + c[0]), theta.dtype());
  ctx.run([&](const auto& ex) { join_weights(ex, {theta.view(), phi.view(), g.view()}, joint); });
  const auto backward = [shapes = std::array{a, b, c}](Backward& back) {
    JoinWeightsBackwardArgs args{.d_joint = back.d_output()};
    for (int i = 0; i < 3; ++i) {
      args.d_weights[i].shape = shapes[i];
      if (!back.wants(i)) continue;
      const GradTarget d = back.grad(i);
      args.d_weights[i] = d.view;
      args.accumulate[i] = d.accumulate;
    }
    back.ctx.run([&](const auto& ex) { join_weights_backward(ex, args); });
  };
  return record(ctx, "join_weights", {theta, phi, g}, joint, backward, master_dtype(ctx.dtype));
}

Projections split_projections(const Context& ctx, const Var& joint, int64_t depth) {
  const Shape& s = joint.shape();
  check(s.rank() == 4 && depth > 0 && s[3] > 2 * depth,
        "split_projections: joint {} with {} channels of theta and of phi", s, depth);
  const int64_t n = s[0], p = s[1] / 2, q = s[2] / 2, width = s[3] - 2 * depth;
  const Tensor query = Tensor::empty(ctx, {n, s[1] * s[2], depth}, joint.dtype());
  const Tensor key = Tensor::empty(ctx, {n, p * q, depth}, joint.dtype());
  const Tensor value = Tensor::empty(ctx, {n, p * q, width}, joint.dtype());
  const Tensor argmax = Tensor::empty(ctx, {n, p, q, depth + width}, DType::kU8);
  ctx.run([&](const auto& ex) { split_projections(ex, joint.view(), query, key, value, argmax); });
  if (ctx.tape == nullptr) return {query, key, value};
  const std::vector<Var> vars = ctx.tape->record(
      "split_projections", {&joint, 1}, std::array{query, key, value}, [argmax](Backward& b) {
        const GradTarget d = b.grad(0);
        b.ctx.run([&](const auto& ex) {
          split_projections_backward(ex, {.argmax = argmax,
                                          .d_query = b.d_output(0),
                                          .d_key = b.d_output(1),
                                          .d_value = b.d_output(2),
                                          .d_joint = d.view,
                                          .accumulate = d.accumulate});
        });
      });
  return {vars[0], vars[1], vars[2]};
}

Var softmax(const Context& ctx, const Var& x) {
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
  ctx.run([&](const auto& ex) { softmax_forward(ex, x.view(), y); });
  return record(ctx, "softmax", {x}, y, [y](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) { softmax_backward(ex, y, b.d_output(), d.view, d.accumulate); });
  });
}

Var batched_matmul(const Context& ctx, const Var& a, const Var& b, bool transpose_b) {
  const Tensor c =
      Tensor::empty(ctx, {a.shape()[0], a.shape()[1], b.shape()[transpose_b ? 1 : 2]}, a.dtype());
  ctx.run([&](const auto& ex) {
    batched_gemm(ex, {.a = a.view(), .b = b.view(), .transpose_b = transpose_b, .c = c});
  });
  return record(ctx, "batched_matmul", {a, b}, c,
                [left = a.value, right = b.value, transpose_b](Backward& back) {
                  const ConstView d_c = back.d_output();
                  const auto product = [&](GemmArgs args, int input) {
                    if (!back.wants(input)) return;
                    const GradTarget d = back.grad(input);
                    args.c = d.view;
                    args.accumulate = d.accumulate;
                    back.ctx.run([&](const auto& ex) { batched_gemm(ex, args); });
                  };
                  product({.a = d_c, .b = right, .transpose_b = !transpose_b}, 0);
                  // dB = A^T dC, or dC^T A where b is stored transposed.
                  product(transpose_b ? GemmArgs{.a = d_c, .transpose_a = true, .b = left}
                                      : GemmArgs{.a = left, .transpose_a = true, .b = d_c},
                          1);
                });
}

}  // namespace bigbigan
