#include "engine/optim/adam.h"

#include "kernels/optim/adam.h"

namespace bigbigan {

void adam_update(const Context& ctx, const Tensor& value, const Tensor& grad, const Tensor& m,
                 const Tensor& v, const Tensor& t, const Tensor& skip, const AdamOptions& o) {
  ctx.run([&](const auto& ex) {
    adam_update(ex, {.value = value,
                     .grad = grad,
                     .m = m,
                     .v = v,
                     .t = t,
                     .skip = skip,
                     .lr = o.lr,
                     .beta1 = o.beta1,
                     .beta2 = o.beta2,
                     .eps = o.eps});
  });
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
