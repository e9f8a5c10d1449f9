#include "models/bigbigan/generator.h"

#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "engine/ops/spatial.h"

namespace bigbigan {

Generator::Generator(const ModelConfig& config, const Architecture& arch, ParamStore& store)
    : spectral_(config.sn_eps),
      z_chunk_(arch.z_chunk),
      first_channels_(arch.g_channels[0]),
      attention_resolution_(arch.g_attention) {
  const Scope scope{store, "generator", &spectral_};
  const BatchNormOptions bn{.eps = config.g_bn_eps, .momentum = config.bn_momentum, .relu = true};
  shared_ = (scope / "shared").param("weight", {1, config.embed_dim}, Init::kOrthogonal);
  linear_ = Linear(scope / "linear", z_chunk_, 16 * first_channels_);
  const int64_t condition = z_chunk_ + config.embed_dim;
  for (size_t i = 0; i + 1 < arch.g_channels.size(); ++i) {
    const int64_t in = arch.g_channels[i], out = arch.g_channels[i + 1];
    const Scope block = scope / ("block_" + std::to_string(i));
    blocks_.push_back({.bn_1 = ConditionalBatchNorm(block / "bn_1", in, condition, bn),
                       .bn_2 = ConditionalBatchNorm(block / "bn_2", out, condition, bn),
                       .conv_1 = Conv2d(block / "conv_1", in, out, 3, true),
                       .conv_2 = Conv2d(block / "conv_2", out, out, 3, true),
                       .conv_sc = Conv2d(block / "conv_sc", in, out, 1, true)});
    // Note [Redundant bias]: batch norm follows conv_1 and takes any constant out again, so the
    // bias has no gradient. Adam would turn the rounding noise of that zero into steps of full
    // size: it gets none. Nor is it added to an image, which would be a pass of its own behind a
    // transposed convolution: batch norm is told of it, whose stored mean contains it.
    store.freeze(blocks_.back().conv_1.bias);
    choose_rewrite(blocks_.back(), config.rewrites);
    if (attention_resolution_ == (8LL << i)) attention_ = Attention(scope / "attention", out);
  }
  const int64_t last = arch.g_channels.back();
  output_bn_ = BatchNorm(scope / "output_bn", last, bn);
  output_conv_ = Conv2d(scope / "output_conv", last, config.image_channels, 3, true);
}

Var Generator::operator()(const Context& ctx, const PreparedWeights& prepared, const Var& z) const {
  const int64_t n = z.shape()[0];
  const Tensor labels = Tensor::zeros(ctx, {n}, DType::kI32);  // one class
  const Var shared = embedding(ctx, shared_(ctx), labels);
  const auto chunk = [&](int64_t i) {
    return slice_features(ctx, z, i * z_chunk_, (i + 1) * z_chunk_);
  };
  Var x = reshape(ctx, linear_(ctx, prepared, chunk(0)), {n, 4, 4, first_channels_});
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const Var condition = concat_features(ctx, chunk(static_cast<int64_t>(i) + 1), shared);
    x = block(ctx, prepared, blocks_[i], x, condition);
    if (attention_ && x.shape()[1] == attention_resolution_) x = attention_(ctx, prepared, x);
  }
  return tanh(ctx, output_conv_(ctx, prepared, output_bn_(ctx, x)));
}

Var Generator::block(const Context& ctx, const PreparedWeights& prepared, const Block& b,
                     const Var& x, const Var& condition) const {
  const Var weight = b.conv_1.weight(ctx, prepared);
  Var h = b.bn_1(ctx, prepared, x, condition, !b.is_rewritten);
  h = b.is_rewritten ? conv2d_transposed(ctx, h, fold_upsample_weight(ctx, weight), {},
                                         {.stride = 2, .pad = 1})
                     : conv2d(ctx, h, weight, {}, {.pad = 1});
  const Tensor bias = b.conv_1.bias.master(ctx).value;
  h = b.bn_2(ctx, prepared, h, condition, false, bias);
  if (b.is_rewritten) {
    return add_upsampled(ctx, b.conv_2.term(ctx, prepared, h), b.conv_sc.term(ctx, prepared, x),
                         b.conv_2.bias_var(ctx), b.conv_sc.bias_var(ctx));
  }
  return add(ctx, b.conv_2(ctx, prepared, h), b.conv_sc(ctx, prepared, upsample2x(ctx, x)));
}

void Generator::choose_rewrite(Block& block, bool rewritten) {
  block.is_rewritten = rewritten;
  spectral_.keep_master(block.conv_1.weight, rewritten);
}

std::vector<RewritableBlock> Generator::rewritable_blocks() {
  std::vector<RewritableBlock> all;
  int64_t side = 4;
  for (Block& b : blocks_) {
    const auto pass = [this, &b, side](const Context& ctx, int64_t n) {
      const Shape &weight = b.conv_1.weight.param.shape(), &gain = b.bn_1.gain.weight.param.shape();
      return lone_pass(
          ctx, {.spectral = spectral_,
                .weights = {b.bn_1.gain.weight, b.bn_1.bias.weight, b.bn_2.gain.weight,
                            b.bn_2.bias.weight, b.conv_1.weight, b.conv_2.weight, b.conv_sc.weight},
                .inputs = {{n, side, side, weight[3]}, {n, gain[1]}},
                .output = {n, 2 * side, 2 * side, weight[0]},
                .forward = [this, &b](const Context& taped, const PreparedWeights& w,
                                      std::span<const Var> in) {
                  return block(taped, w, b, in[0], in[1]);
                }});
    };
    all.push_back({.name = "generator.block_" + std::to_string(all.size()),
                   .choose = [this, &b](bool rewritten) { choose_rewrite(b, rewritten); },
                   .pass = pass});
    side *= 2;
  }
  return all;
}

}  // namespace bigbigan
