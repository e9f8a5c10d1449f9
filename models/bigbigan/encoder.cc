#include "models/bigbigan/encoder.h"

#include "engine/ops/elementwise.h"
#include "engine/ops/random.h"

namespace bigbigan {

Encoder::Encoder(const ModelConfig& config, const Architecture& arch, ParamStore& store)
    : z_dim_(config.z_dim),
      stochastic_(config.encoder_stochastic),
      tanh_output_(config.prior == "uniform") {
  const Scope scope{store, "encoder"};
  backbone_ = ResNet(config, arch, scope);
  head_ = ResidualMlp(scope / "head", backbone_.features(), config.encoder_head_width,
                      config.encoder_head_blocks, false);
  output_ = Linear(scope / "output", config.encoder_head_width, stochastic_ ? 2 * z_dim_ : z_dim_);
}

EncoderOutput Encoder::operator()(const Context& ctx, const Var& x) const {
  const Var avepool = backbone_(ctx, x);
  Var stats = output_(ctx, {}, head_(ctx, {}, avepool));
  if (tanh_output_) stats = tanh(ctx, stats);
  return {avepool, stats};
}

Var Encoder::sample(const Context& ctx, const EncoderOutput& output, const Tensor& eps) const {
  return stochastic_ ? reparametrize(ctx, output.stats, eps) : output.stats;
}

std::pair<Tensor, Tensor> Encoder::mean_and_stdev(const Context& ctx,
                                                  const EncoderOutput& output) const {
  const Context plain = ctx.with_tape(nullptr);
  if (!stochastic_) {
    return {output.stats.value, Tensor::zeros(ctx, output.stats.shape(), output.stats.dtype())};
  }
  return {slice_features(plain, output.stats.value, 0, z_dim_).value,
          softplus(plain, slice_features(plain, output.stats.value, z_dim_, 2 * z_dim_)).value};
}

}  // namespace bigbigan
