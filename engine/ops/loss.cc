#include "engine/ops/loss.h"

#include <array>

namespace bigbigan {
namespace {

Tensor adversarial_loss(const Context& ctx, std::string_view name, AdversarialLoss loss,
                        const PairScores& encoder, const PairScores& generator,
                        int64_t global_batch) {
  check(global_batch > 0, "{}: a global batch of {}", name, global_batch);
  const std::array<Var, kScoreCount> scores = {encoder.s_x,   encoder.s_z,   encoder.s_xz,
                                               generator.s_x, generator.s_z, generator.s_xz};
  const auto args = [scores, loss, global_batch] {
    AdversarialArgs a{.loss = loss, .batch = static_cast<double>(global_batch)};
    for (int i = 0; i < kScoreCount; ++i) {
      if (scores[i]) a.scores[i] = scores[i].view();
    }
    return a;
  };
  const Tensor terms = Tensor::empty(ctx, {kLossTermCount}, master_dtype(ctx.dtype));
  ctx.run([&](const auto& ex) { adversarial_forward(ex, args(), terms); });
  if (ctx.tape != nullptr) {
    ctx.tape->record_root(name, scores, [args](Backward& b) {
      ScoreGradients d_scores;
      for (int i = 0; i < kScoreCount; ++i) {
        if (!b.wants(i)) continue;
        const GradTarget d = b.grad(i);
        d_scores.view[i] = d.view;
        d_scores.accumulate[i] = d.accumulate;
      }
      b.ctx.run([&](const auto& ex) { adversarial_backward(ex, args(), d_scores); });
    });
  }
  return terms;
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

Tensor softmax_cross_entropy(const Context& ctx, const Var& logits, const Tensor& labels,
                             double scale) {
  const Tensor terms = Tensor::empty(ctx, {kCrossEntropyTermCount}, DType::kF64);
  const Tensor scratch = Tensor::zeros(ctx, {cross_entropy_scratch_elems(labels.elems())},
                                       DType::kF64, MemoryTag::kWorkspace);
  ctx.run([&](const auto& ex) {
    softmax_cross_entropy(ex, {.logits = logits.view(),
                               .labels = labels,
                               .scale = scale,
                               .terms = terms,
                               .scratch = scratch});
  });
  if (ctx.tape != nullptr) {
    ctx.tape->record_root("softmax_cross_entropy", std::array{logits},
                          [logits, labels, scale](Backward& b) {
                            const GradTarget d = b.grad(0);
                            b.ctx.run([&](const auto& ex) {
                              softmax_cross_entropy(ex, {.logits = logits.view(),
                                                         .labels = labels,
                                                         .scale = scale,
                                                         .d_logits = d.view,
                                                         .accumulate = d.accumulate});
                            });
                          });
  }
  return terms;
}

}  // namespace bigbigan
