#include "engine/optim/adam.h"

namespace bigbigan {

void optimizer_update(const Context& ctx, const UpdateArgs& args) {
  ctx.run([&](const auto& ex) { optimizer_update(ex, args); });
}

void increment(const Context& ctx, const Tensor& t) {
  ctx.run([&](const auto& ex) { increment(ex, t); });
}

void ema_update(const Context& ctx, const Tensor& average, const Tensor& value, double decay,
                const Tensor& skip) {
  ctx.run([&](const auto& ex) { ema_update(ex, average, value, decay, skip); });
}

void gradient_sums(const Context& ctx, const Tensor& value, const Tensor& grad,
                   const NormalizedWeights& weights, const Tensor& sums, bool accumulate) {
  const Tensor scratch = Tensor::empty(ctx, {gradient_sums_scratch_elems(grad.elems(), weights)},
                                       DType::kF64, MemoryTag::kWorkspace);
  ctx.run(
      [&](const auto& ex) { gradient_sums(ex, value, grad, weights, sums, accumulate, scratch); });
}

void gradient_norm(const Context& ctx, const NormalizedWeights& weights, const Tensor& sums,
                   const Tensor& squared_norm, const Tensor& skip) {
  ctx.run([&](const auto& ex) { gradient_norm(ex, weights, sums, squared_norm, skip); });
}

}  // namespace bigbigan
