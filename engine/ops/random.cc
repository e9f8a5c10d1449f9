#include "engine/ops/random.h"

namespace bigbigan {
namespace {

RandomArgs args_of(const RandomKey& key, const Tensor& first_sample) {
  return {.seed = key.seed, .stream = key.stream, .first_sample = first_sample};
}

}  // namespace

Tensor random_normal(const Context& ctx, const RandomKey& key, const Tensor& first_sample,
                     const Shape& shape) {
  const Tensor out = Tensor::empty(ctx, shape, ctx.dtype);
  ctx.run([&](const auto& ex) { random_normal(ex, args_of(key, first_sample), out); });
  return out;
}

Tensor random_uniform(const Context& ctx, const RandomKey& key, const Tensor& first_sample,
                      const Shape& shape) {
  const Tensor out = Tensor::empty(ctx, shape, ctx.dtype);
  ctx.run([&](const auto& ex) { random_uniform(ex, args_of(key, first_sample), out); });
  return out;
}

Var reparametrize(const Context& ctx, const Var& stats, const Tensor& eps) {
  const Tensor z = Tensor::empty(ctx, eps.shape(), stats.dtype());
  ctx.run([&](const auto& ex) { reparametrize_forward(ex, stats.view(), eps, z); });
  return record(ctx, "reparametrize", {stats}, z, [saved = stats.value, eps](Backward& b) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) {
      reparametrize_backward(ex, saved, eps, b.d_output(), d.view, d.accumulate);
    });
  });
}

}  // namespace bigbigan
