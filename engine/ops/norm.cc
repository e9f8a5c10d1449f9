#include "engine/ops/norm.h"

#include <algorithm>

#include "engine/comm/communicator.h"
#include "kernels/elementwise/unary.h"
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

// Moments over the batch of all ranks, merged in rank order.
Tensor global_moments(const Context& ctx, ConstView x) {
  const int64_t size = 1 + 2 * x.shape[-1];
  const Tensor moments = doubles(ctx, {size});
  const Tensor scratch = workspace(ctx, batch_moments_scratch_elems(x.shape));
  ctx.run([&](const auto& ex) { batch_moments(ex, x, moments, scratch); });
  if (ctx.comm == nullptr || ctx.comm->size() == 1) return moments;
  const Tensor gathered = doubles(ctx, {ctx.comm->size(), size});
  ctx.comm->all_gather(moments, gathered);
  ctx.run([&](const auto& ex) { merge_moments(ex, gathered, moments); });
  return moments;
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
  b.ctx.run([&](const auto& ex) {
    batch_norm_backward_sums(ex, args, d_y, sums);
    batch_norm_backward_totals(ex, args, sums, totals);
  });
  if (saved.moments && b.ctx.comm != nullptr) b.ctx.comm->all_reduce_sum(totals);
  if (b.wants(0)) {
    const GradTarget d = b.grad(0);
    b.ctx.run([&](const auto& ex) {
      batch_norm_backward_x(ex, args, d_y, totals, saved.moments, d.view, d.accumulate);
    });
  }
  for (const int input : {1, 2}) {
    if (!b.wants(input)) continue;
    const GradTarget d = b.grad(input);
    b.ctx.run([&](const auto& ex) {
      batch_norm_backward_parameter(ex, sums, input == 1 ? 1 : 0, d.view, d.accumulate);
    });
  }
}

// What a backward pass keeps of one normalised weight.
struct NormalizedWeight {
  Tensor y, u, v, sigma;
};

void spectral_backward(Backward& b, std::span<const NormalizedWeight> weights) {
  std::vector<SpectralNormBackwardArgs> list;
  for (int i = 0; i < static_cast<int>(weights.size()); ++i) {
    if (!b.wants(i) || !b.has(i)) continue;
    const GradTarget d = b.grad(i);
    const NormalizedWeight& w = weights[i];
    list.push_back({.d_y = b.d_output(i),
                    .y = w.y,
                    .u = w.u,
                    .v = w.v,
                    .sigma = w.sigma,
                    .d_w = d.view,
                    .accumulate = d.accumulate});
  }
  const Tensor scratch = workspace(b.ctx, spectral_norm_backward_scratch_elems(list));
  b.ctx.run([&](const auto& ex) { spectral_norm_backward(ex, list, scratch); });
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
    saved.moments = global_moments(ctx, x.view());
    ctx.run([&](const auto& ex) {
      statistics_of_moments(ex, saved.moments, options.eps, saved.statistics);
      if (ctx.update_statistics) {
        update_running_statistics(ex, saved.moments, shift, options.momentum, running_mean,
                                  running_var);
      }
    });
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

std::vector<Var> spectral_norm(const Context& ctx, std::span<const Var> weights,
                               std::span<const Tensor> u, double eps, std::span<const DType> dtypes,
                               int64_t group_bytes) {
  check(weights.size() == u.size(), "spectral_norm: {} weights, {} vectors", weights.size(),
        u.size());
  std::vector<NormalizedWeight> saved;
  std::vector<SpectralNormArgs> args;
  std::vector<Var> outputs;
  for (size_t i = 0; i < weights.size(); ++i) {
    const Var& w = weights[i];
    const int64_t rows = w.shape()[0];
    const Tensor y = Tensor::empty(ctx, w.shape(), dtypes.empty() ? ctx.dtype : dtypes[i]);
    const Tensor v = Tensor::empty(ctx, {rows == 0 ? 0 : w.value.elems() / rows}, w.dtype());
    saved.push_back(
        {y, Tensor::empty(ctx, u[i].shape(), u[i].dtype()), v, Tensor::empty(ctx, {1}, w.dtype())});
    args.push_back({.w = w.view(), .u = u[i], .v = v, .sigma = saved.back().sigma, .y = y});
    outputs.emplace_back(y);
  }
  const Tensor scratch = workspace(ctx, spectral_norm_scratch_elems(args));
  ctx.run(
      [&](const auto& ex) { spectral_norm_forward(ex, args, ctx.power_iteration, eps, scratch); });
  if (ctx.tape == nullptr) return outputs;
  // u moves on in the next iteration: backward needs the one of this forward pass.
  for (size_t i = 0; i < saved.size(); ++i) {
    ctx.run([&](const auto& ex) { scale(ex, u[i], 1.0, saved[i].u, false); });
  }
  for (size_t end = weights.size(), begin = end; end > 0; end = begin) {
    int64_t bytes = 0;
    do {
      bytes += weights[--begin].view().bytes();
    } while (begin > 0 && bytes < group_bytes);
    const std::vector<NormalizedWeight> group(saved.begin() + begin, saved.begin() + end);
    std::vector<Tensor> values;
    for (const NormalizedWeight& w : group) values.push_back(w.y);
    const std::vector<Var> vars = ctx.tape->record(
        "spectral_norm", weights.subspan(begin, end - begin), values,
        [group](Backward& b) { spectral_backward(b, group); }, master_dtype(ctx.dtype),
        Turn::kAtOnce);
    std::ranges::copy(vars, outputs.begin() + begin);
  }
  return outputs;
}

}  // namespace bigbigan
