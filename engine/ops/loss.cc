#include "engine/ops/loss.h"

#include <array>

#include "kernels/common/dispatch.h"
#include "kernels/loss/adversarial.h"

namespace bigbigan {
namespace {

Tensor adversarial_loss(const Context& ctx, std::string_view name, AdversarialLoss kind,
                        const PairScores& encoder, const PairScores& generator,
                        int64_t global_batch) {
  const auto batch = static_cast<double>(global_batch);
  check(global_batch > 0, "{}: a global batch of {}", name, global_batch);
  const std::array<Var, 6> scores = {encoder.s_x,   encoder.s_z,   encoder.s_xz,
                                     generator.s_x, generator.s_z, generator.s_xz};
  std::array<double, kLossTermCount> terms{};
  for (size_t i = 0; i < scores.size(); ++i) {
    if (!scores[i]) continue;
    const size_t term = i % 3;
    ctx.run([&](const auto& ex) {
      const ScoreSums sums =
          adversarial_forward(ex, kind, scores[i].view(), i < 3 ? 1.0 : -1.0, batch);
      terms[kLossTotal] += sums.loss;
      terms[kLossX + term] += sums.loss;
      terms[kScoreXReal + 2 * term + (i < 3 ? 0 : 1)] = sums.mean;
    });
  }
  if (ctx.tape != nullptr) {
    ctx.tape->record_root(name, scores, [scores, kind, batch](Backward& b) {
      for (int i = 0; i < static_cast<int>(scores.size()); ++i) {
        if (!b.wants(i)) continue;
        const GradTarget d = b.grad(i);
        b.ctx.run([&](const auto& ex) {
          adversarial_backward(ex, kind, scores[i].view(), i < 3 ? 1.0 : -1.0, batch, d.view,
                               d.accumulate);
        });
      }
    });
  }
  const Tensor out = Tensor::empty(ctx, {kLossTermCount}, ctx.dtype);
  dispatch_real("loss", ctx.dtype, [&]<class T>(TypeTag<T>) {
    for (int i = 0; i < kLossTermCount; ++i) out.as<T>()[i] = static_cast<T>(terms[i]);
  });
  return out;
}

}  // namespace

Tensor discriminator_loss(const Context& ctx, const PairScores& encoder,
                          const PairScores& generator, int64_t global_batch) {
  return adversarial_loss(ctx, "discriminator_loss", AdversarialLoss::kHinge, encoder, generator,
                          global_batch);
}

Tensor encoder_generator_loss(const Context& ctx, const PairScores& encoder,
                              const PairScores& generator, int64_t global_batch) {
  return adversarial_loss(ctx, "encoder_generator_loss", AdversarialLoss::kLinear, encoder,
                          generator, global_batch);
}

}  // namespace bigbigan
