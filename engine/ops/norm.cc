#include "engine/ops/norm.h"

#include "engine/comm/communicator.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/norm/spectral_norm.h"

namespace bigbigan {
namespace {

Tensor doubles(const Context& ctx, const Shape& shape) {
  return Tensor::empty(ctx, shape, DType::kF64, MemoryTag::kActivations);
}

Tensor workspace(const Context& ctx, int64_t doubles) {
  return Tensor::empty(ctx, {doubles}, DType::kF64, MemoryTag::kWorkspace);
}

// Statistics of the batch of all ranks, whose moments are merged in a fixed order.
void global_statistics(const Context& ctx, ConstView x, const BatchStatistics& out) {
  const Tensor scratch = workspace(ctx, batch_moments_scratch_elems(x.shape));
  if (rank_count(ctx.comm) == 1) {
    ctx.run([&](const auto& ex) { batch_statistics(ex, x, out, scratch); });
    return;
  }
  ctx.run([&](const auto& ex) { batch_moments(ex, x, out.moments, scratch); });
  const Tensor gathered = doubles(ctx, {ctx.comm->size(), out.moments.shape[0]});
  ctx.comm->all_gather(out.moments, gathered);
  ctx.run([&](const auto& ex) { merged_statistics(ex, gathered, out); });
}

// What a backward pass keeps of its batch norm.
struct Saved {
  Tensor x, statistics, gain, bias;
  Tensor moments;  // empty: stored statistics were used
  BatchNormOptions options;

  [[nodiscard]] BatchNormArgs args() const {
    return {.x = x,
            .statistics = statistics,
            .gain = gain,
            .bias = bias,
            .gain_offset = options.gain_offset,
            .relu = options.relu,
            .upsample = options.upsample};
  }
};

void backward(Backward& b, const Saved& saved) {
  const BatchNormArgs args = saved.args();
  const ConstView d_y = b.d_output();
  const int64_t n = saved.x.shape()[0], c = saved.x.shape()[-1];
  const Tensor sums = doubles(b.ctx, {n, 2, c}), totals = doubles(b.ctx, {2, c});
  const auto gradient = [&](int input) {
    if (!b.wants(input)) return BatchNormGradient{};
    const GradTarget d = b.grad(input);
    return BatchNormGradient{d.view, d.accumulate};
  };
  const BatchNormGradient d_gain = gradient(1), d_bias = gradient(2);
  b.ctx.run([&](const auto& ex) {
    batch_norm_backward_sums(ex, args, d_y, sums);
    batch_norm_backward_totals(ex, args, sums, totals, d_gain, d_bias);
  });
  if (saved.moments && b.ctx.comm != nullptr) b.ctx.comm->all_reduce_sum(totals);
  if (!b.wants(0)) return;
  const GradTarget d = b.grad(0);
  b.ctx.run([&](const auto& ex) {
    batch_norm_backward_x(ex, args, d_y, totals, saved.moments, d.view, d.accumulate);
  });
}

}  // namespace

Var batch_norm(const Context& ctx, const Var& x, const Var& gain, const Var& bias,
               const Tensor& running_mean, const Tensor& running_var,
               const BatchNormOptions& options, const Tensor& shift) {
  const int64_t c = x.shape()[-1];
  Saved saved{.x = x.value,
              .statistics = doubles(ctx, {2, c}),
              .gain = gain.value,
              .bias = bias.value,
              .options = options};
  if (ctx.batch_statistics) {
    saved.moments = doubles(ctx, {1 + 2 * c});
    BatchStatistics out{
        .eps = options.eps, .moments = saved.moments, .statistics = saved.statistics};
    if (ctx.update_statistics) {
      out.running_mean = running_mean;
      out.running_var = running_var;
      out.shift = shift;
      out.momentum = options.momentum;
    }
    global_statistics(ctx, x.view(), out);
  } else {
    ctx.run([&](const auto& ex) {
      statistics_of_stored(ex, running_mean, running_var, shift, options.eps, saved.statistics);
    });
  }
  const Shape& s = x.shape();
  const Tensor y =
      Tensor::empty(ctx, options.upsample ? Shape{s[0], 2 * s[1], 2 * s[2], s[3]} : s, x.dtype());
  ctx.run([&](const auto& ex) { batch_norm_apply(ex, saved.args(), y); });
  return record(ctx, "batch_norm", {x, gain, bias}, y,
                [saved](Backward& b) { backward(b, saved); });
}

std::vector<Tensor> spectral_norm(const Context& ctx, std::span<const SpectralWeight> weights,
                                  double eps) {
  std::vector<Tensor> results, vectors;
  std::vector<SpectralNormArgs> args;
  const auto or_fresh = [&](const Tensor& given, const SpectralWeight& weight, int64_t elems) {
    if (given) return given;
    return vectors.emplace_back(Tensor::empty(ctx, {elems}, weight.w.dtype()));
  };
  for (const SpectralWeight& weight : weights) {
    const int64_t rows = weight.w.shape()[0];
    const Tensor& y = results.emplace_back(Tensor::empty(ctx, weight.w.shape(), weight.dtype));
    args.push_back({.w = weight.w,
                    .u = weight.u,
                    .v = or_fresh(weight.v, weight, rows == 0 ? 0 : weight.w.elems() / rows),
                    .sigma = or_fresh(weight.sigma, weight, 1),
                    .y = y});
  }
  const Tensor scratch = workspace(ctx, spectral_norm_scratch_elems(args));
  ctx.run([&](const auto& ex) { spectral_norm(ex, args, ctx.power_iteration, eps, scratch); });
  return results;
}

}  // namespace bigbigan
