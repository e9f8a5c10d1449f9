#include "models/bigbigan/discriminator.h"

#include "engine/ops/elementwise.h"
#include "engine/ops/spatial.h"

namespace bigbigan {

Discriminator::Discriminator(const ModelConfig& config, const Architecture& arch, ParamStore& store)
    : spectral_(config.sn_eps),
      resolution_(config.resolution),
      attention_resolution_(arch.d_attention) {
  const Scope scope{store, "discriminator", &spectral_};
  const Scope image = scope / "image";
  int64_t in = config.image_channels, resolution = config.resolution;
  for (size_t i = 0; i < arch.d_channels.size(); ++i) {
    const int64_t out = arch.d_channels[i];
    const Scope block = image / ("block_" + std::to_string(i));
    Block b{.conv_1 = Conv2d(block / "conv_1", in, out, 3, true),
            .conv_2 = Conv2d(block / "conv_2", out, out, 3, true),
            .down = static_cast<int64_t>(i) < arch.d_downs,
            .first = i == 0};
    if (b.down || in != out) b.conv_sc = Conv2d(block / "conv_sc", in, out, 1, true);
    if (b.down) choose_rewrite(b, config.rewrites);
    blocks_.push_back(b);
    in = out;
    if (b.down) resolution /= 2;
    if (!attention_ && attention_resolution_ == resolution) {
      attention_ = Attention(image / "attention", out);
    }
  }
  // Only what the losses read is declared: a score that is switched off has no head, and H and J
  // exist for the scores that read them.
  if (config.loss_x) score_x_ = Linear(image / "score", in, 1);
  if (!config.loss_z && !config.loss_xz) return;
  const int64_t width = config.mlp_width;
  latent_ = ResidualMlp(scope / "latent", config.z_dim, width, config.mlp_blocks, true);
  if (config.loss_z) score_z_ = Linear(scope / "latent" / "score", width, 1);
  if (!config.loss_xz) return;
  joint_ = ResidualMlp(scope / "joint", in + width, width, config.mlp_blocks, false);
  score_xz_ = Linear(scope / "joint" / "score", width, 1);
}

Var Discriminator::image(const Context& ctx, const PreparedWeights& prepared, const Var& x) const {
  Var h = x;
  bool attended = false;
  for (const Block& b : blocks_) {
    h = block(ctx, prepared, b, h);
    if (attention_ && !attended && h.shape()[1] == attention_resolution_) {
      h = attention_(ctx, prepared, h);
      attended = true;
    }
  }
  return global_sum_pool(ctx, relu(ctx, h));
}

Var Discriminator::block(const Context& ctx, const PreparedWeights& prepared, const Block& b,
                         const Var& x) const {
  if (b.is_rewritten) {
    const auto [active, pooled] =
        b.first ? std::pair{x, avg_pool2x2(ctx, x)} : relu_avg_pool2x2(ctx, x);
    const Var bias_2 = b.conv_2.bias_var(ctx);
    const Var h = conv2d(ctx, b.conv_1(ctx, prepared, active, 1, true),
                         fold_avg_pool_weight(ctx, b.conv_2.weight(ctx, prepared)), bias_2.value,
                         {.stride = 2, .pad = 1});
    return b.conv_sc.added_to(ctx, prepared, h, pooled, bias_2);
  }
  // The ReLU before conv_1 makes a new tensor: in place it would corrupt the shortcut.
  Var h = b.conv_1(ctx, prepared, b.first ? x : relu(ctx, x), 1, true);
  if (!b.down) {
    h = b.conv_2(ctx, prepared, h);
    return add(ctx, h, b.conv_sc ? b.conv_sc(ctx, prepared, x) : x);
  }
  h = avg_pool2x2(ctx, b.conv_2(ctx, prepared, h));
  // BigGAN's first block pools before its shortcut convolution, the others after it.
  return add(ctx, h,
             b.first ? b.conv_sc(ctx, prepared, avg_pool2x2(ctx, x))
                     : avg_pool2x2(ctx, b.conv_sc(ctx, prepared, x)));
}

Var Discriminator::latent(const Context& ctx, const PreparedWeights& prepared, const Var& z) const {
  return latent_(ctx, prepared, z);
}

Var Discriminator::joint(const Context& ctx, const PreparedWeights& prepared, const Var& f,
                         const Var& h) const {
  return joint_(ctx, prepared, concat_features(ctx, f, h));
}

Var Discriminator::score_x(const Context& ctx, const PreparedWeights& prepared,
                           const Var& f) const {
  return score_x_(ctx, prepared, f);
}

Var Discriminator::score_z(const Context& ctx, const PreparedWeights& prepared,
                           const Var& h) const {
  return score_z_(ctx, prepared, h);
}

Var Discriminator::score_xz(const Context& ctx, const PreparedWeights& prepared,
                            const Var& j) const {
  return score_xz_(ctx, prepared, j);
}

void Discriminator::choose_rewrite(Block& block, bool rewritten) {
  block.is_rewritten = rewritten;
  spectral_.keep_master(block.conv_2.weight, rewritten);
}

std::vector<RewritableBlock> Discriminator::rewritable_blocks() {
  std::vector<RewritableBlock> all;
  int64_t side = resolution_;
  for (Block& b : blocks_) {
    if (!b.down) break;  // none after it does
    const auto pass = [this, &b, side](const Context& ctx, int64_t n) {
      const Shape& weight = b.conv_1.weight.param.shape();
      return lone_pass(ctx, {.spectral = spectral_,
                             .weights = {b.conv_1.weight, b.conv_2.weight, b.conv_sc.weight},
                             .inputs = {{n, side, side, weight[3]}},
                             .output = {n, side / 2, side / 2, weight[0]},
                             .forward = [this, &b](const Context& taped, const PreparedWeights& w,
                                                   std::span<const Var> in) {
                               return block(taped, w, b, in[0]);
                             }});
    };
    all.push_back({.name = "discriminator.image.block_" + std::to_string(all.size()),
                   .choose = [this, &b](bool rewritten) { choose_rewrite(b, rewritten); },
                   .pass = pass});
    side /= 2;
  }
  return all;
}

}  // namespace bigbigan
