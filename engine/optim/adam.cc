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

void sum_of_squares(const Context& ctx, const Tensor& x, const Tensor& sum, const Tensor& skip) {
  const Tensor scratch = Tensor::empty(ctx, {sum_of_squares_scratch_elems(x.elems())}, DType::kF64,
                                       MemoryTag::kWorkspace);
  ctx.run([&](const auto& ex) { sum_of_squares(ex, x, sum, skip, scratch); });
}

}  // namespace bigbigan
