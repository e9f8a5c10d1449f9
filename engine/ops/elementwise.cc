#include "engine/ops/elementwise.h"

#include "kernels/elementwise/binary.h"
#include "kernels/elementwise/features.h"
#include "kernels/elementwise/unary.h"
#include "kernels/reduce/column_sum.h"

namespace bigbigan {
namespace {

// Rows [begin, end) of a View or ConstView.
template <class V>
V rows_of(const V& view, int64_t begin, int64_t end) {
  using Byte = std::conditional_t<std::is_same_v<V, View>, std::byte, const std::byte>;
  const int64_t bytes = view.shape[0] > 0 ? view.bytes() / view.shape[0] : 0;
  return {static_cast<Byte*>(view.data) + begin * bytes, view.shape.with_dim0(end - begin),
          view.dtype};
}

}  // namespace

Var relu(const Context& ctx, const Var& x) {
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
  ctx.run([&](const auto& ex) { relu_forward(ex, x.view(), y); });
  return record(ctx, "relu", {x}, y, [y](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) { relu_backward(ex, y, b.d_output(), d.view, d.accumulate); });
  });
}

Var tanh(const Context& ctx, const Var& x) {
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
  ctx.run([&](const auto& ex) { tanh_forward(ex, x.view(), y); });
  return record(ctx, "tanh", {x}, y, [y](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) { tanh_backward(ex, y, b.d_output(), d.view, d.accumulate); });
  });
}

Var softplus(const Context& ctx, const Var& x) {
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
  ctx.run([&](const auto& ex) { softplus_forward(ex, x.view(), y); });
  return record(ctx, "softplus", {x}, y, [in = x.value](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run(
        [&](const auto& ex) { softplus_backward(ex, in, b.d_output(), d.view, d.accumulate); });
  });
}

Var add(const Context& ctx, const Var& a, const Var& b) {
  const Tensor y = Tensor::empty(ctx, a.shape(), a.dtype());
  ctx.run([&](const auto& ex) { add(ex, a.view(), b.view(), y); });
  return record(ctx, "add", {a, b}, y, [](Backward& back) {
    back.pass_on(0);
    back.pass_on(1);
  });
}

Var scale(const Context& ctx, const Var& x, double factor) {
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
  ctx.run([&](const auto& ex) { scale(ex, x.view(), factor, y, false); });
  return record(ctx, "scale", {x}, y, [factor](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) { scale(ex, b.d_output(), factor, d.view, d.accumulate); });
  });
}

Var scaled_weight(const Context& ctx, const Var& w, const Var& gamma) {
  const Tensor y = Tensor::empty(ctx, w.shape(), ctx.dtype);
  ctx.run([&](const auto& ex) { scale_by(ex, gamma.view(), w.view(), y, false); });
  const auto backward = [w = w.value, gamma = gamma.value](Backward& b) {
    const ConstView d_y = b.d_output();
    if (b.wants(0)) {
      const GradTarget d = b.grad(0);
      b.ctx.run([&](const auto& ex) { scale_by(ex, gamma, d_y, d.view, d.accumulate); });
    }
    if (b.wants(1)) {
      const GradTarget d = b.grad(1);
      const Tensor scratch = Tensor::empty(b.ctx, {inner_product_scratch_elems(w.elems())},
                                           DType::kF64, MemoryTag::kWorkspace);
      b.ctx.run([&](const auto& ex) { inner_product(ex, w, d_y, d.view, d.accumulate, scratch); });
    }
  };
  return record(ctx, "scaled_weight", {w, gamma}, y, backward, master_dtype(ctx.dtype));
}

Var add_bias(const Context& ctx, const Var& x, const Var& bias) {
  const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
  ctx.run([&](const auto& ex) { add_bias(ex, x.view(), bias.view(), y); });
  return record(ctx, "add_bias", {x, bias}, y, [](Backward& b) {
    b.pass_on(0);
    bias_gradients(b, b.d_output(), {1});
  });
}

void sum_columns(const Context& ctx, ConstView x, const GradTarget& target,
                 const GradTarget& also) {
  const Tensor scratch =
      Tensor::empty(ctx, {column_sum_scratch_elems(x.shape)}, DType::kF64, MemoryTag::kWorkspace);
  ctx.run([&](const auto& ex) {
    column_sum(ex, x, {target.view, target.accumulate}, {also.view, also.accumulate}, scratch);
  });
}

void bias_gradients(const Backward& b, ConstView d, std::initializer_list<int> biases) {
  std::vector<GradTarget> targets;
  for (const int i : biases) {
    if (b.wants(i)) targets.push_back(b.grad(i));
  }
  if (targets.empty()) return;
  sum_columns(b.ctx, d, targets.front(), targets.size() > 1 ? targets.back() : GradTarget());
}

Var concat_features(const Context& ctx, const Var& a, const Var& b) {
  const int64_t ca = a.shape()[-1], cb = b.shape()[-1];
  std::vector<int64_t> dims(a.shape().dims().begin(), a.shape().dims().end());
  dims.back() = ca + cb;
  const Tensor y = Tensor::empty(ctx, Shape(dims), a.dtype());
  ctx.run([&](const auto& ex) {
    copy_features(ex, a.view(), 0, y, 0, ca, false);
    copy_features(ex, b.view(), 0, y, ca, cb, false);
  });
  return record(ctx, "concat_features", {a, b}, y, [ca, cb](Backward& back) {
    for (int i = 0; i < 2; ++i) {
      if (!back.wants(i)) continue;
      const GradTarget d = back.grad(i);
      back.ctx.run([&](const auto& ex) {
        copy_features(ex, back.d_output(), i == 0 ? 0 : ca, d.view, 0, i == 0 ? ca : cb,
                      d.accumulate);
      });
    }
  });
}

Var slice_features(const Context& ctx, const Var& x, int64_t begin, int64_t end) {
  const int64_t width = x.shape()[-1];
  check(0 <= begin && begin <= end && end <= width, "slice_features: [{},{}) of {}", begin, end,
        x.shape());
  std::vector<int64_t> dims(x.shape().dims().begin(), x.shape().dims().end());
  dims.back() = end - begin;
  const Tensor y = Tensor::empty(ctx, Shape(dims), x.dtype());
  ctx.run([&](const auto& ex) { copy_features(ex, x.view(), begin, y, 0, end - begin, false); });
  return record(ctx, "slice_features", {x}, y, [begin, end](Backward& b) {
    const GradTarget d = b.grad(0);
    if (!d.accumulate) b.ctx.allocator->memory().fill(d.view.data, 0, d.view.bytes());
    b.ctx.run([&](const auto& ex) {
      copy_features(ex, b.d_output(), 0, d.view, begin, end - begin, d.accumulate);
    });
  });
}

Var reshape(const Context& ctx, const Var& x, const Shape& shape) {
  return record(ctx, "reshape", {x}, x.value.reshape(shape), [](Backward& b) { b.pass_on(0); });
}

}  // namespace bigbigan
