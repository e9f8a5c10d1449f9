#include "models/layers/layers.h"

#include "engine/ops/attention.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"

namespace bigbigan {

Scope Scope::operator/(std::string_view name) const {
  return {store, prefix + "." + std::string(name), spectral};
}

Weight Scope::weight(const Shape& shape, ParamLayout layout) const {
  const Param param = store.add(prefix + ".weight", shape, Init::kOrthogonal, layout);
  return spectral != nullptr ? spectral->add(store, prefix, param) : Weight{param};
}

Param Scope::param(std::string_view name, const Shape& shape, Init init) const {
  return store.add(prefix + "." + std::string(name), shape, init);
}

Buffer Scope::statistics(std::string_view name, int64_t channels, double initial) const {
  return store.add_buffer(prefix + "." + std::string(name), {channels}, BufferKind::kStatistics,
                          initial);
}

Linear::Linear(const Scope& scope, int64_t in, int64_t out, bool with_bias)
    : weight(scope.weight({out, in}, ParamLayout::kPlain)) {
  if (with_bias) bias = scope.param("bias", {out}, Init::kZeros);
}

Var Linear::operator()(const Context& ctx, const PreparedWeights& prepared, const Var& x) const {
  return linear(ctx, x, weight(ctx, prepared), bias ? bias(ctx) : Var());
}

Conv2d::Conv2d(const Scope& scope, int64_t in, int64_t out, int64_t kernel, bool with_bias)
    : weight(scope.weight({out, kernel, kernel, in}, ParamLayout::kConvolution)), kernel(kernel) {
  if (with_bias) bias = scope.param("bias", {out}, Init::kZeros);
}

Var Conv2d::operator()(const Context& ctx, const PreparedWeights& prepared, const Var& x,
                       int64_t stride, bool relu) const {
  return conv2d(ctx, x, weight(ctx, prepared), bias_var(ctx),
                {.stride = stride, .pad = kernel / 2, .relu = relu});
}

Var Conv2d::term(const Context& ctx, const PreparedWeights& prepared, const Var& x) const {
  return conv2d(ctx, x, weight(ctx, prepared), bias_var(ctx).value, {.pad = kernel / 2});
}

Var Conv2d::added_to(const Context& ctx, const PreparedWeights& prepared, const Var& addend,
                     const Var& x, const Var& addend_bias) const {
  return conv1x1_add(ctx, x, weight(ctx, prepared), bias_var(ctx), addend, addend_bias);
}

BatchNorm::BatchNorm(const Scope& scope, int64_t channels, const BatchNormOptions& options)
    : gain(scope.param("weight", {channels}, Init::kOnes)),
      bias(scope.param("bias", {channels}, Init::kZeros)),
      running_mean(scope.statistics("running_mean", channels, 0)),
      running_var(scope.statistics("running_var", channels, 1)),
      options(options) {}

Var BatchNorm::operator()(const Context& ctx, const Var& x) const {
  return batch_norm(ctx, x, gain(ctx), bias(ctx), running_mean(), running_var(), options);
}

ConditionalBatchNorm::ConditionalBatchNorm(const Scope& scope, int64_t channels, int64_t condition,
                                           const BatchNormOptions& options)
    : gain(scope / "gain", condition, channels, false),
      bias(scope / "bias", condition, channels, false),
      running_mean(scope.statistics("running_mean", channels, 0)),
      running_var(scope.statistics("running_var", channels, 1)),
      options(options) {
  this->options.gain_offset = 1.0;
  this->options.relu = true;
}

Var ConditionalBatchNorm::operator()(const Context& ctx, const PreparedWeights& prepared,
                                     const Var& x, const Var& condition, bool upsample,
                                     const Tensor& shift) const {
  BatchNormOptions fused = options;
  fused.upsample = upsample;
  return batch_norm(ctx, x, gain(ctx, prepared, condition), bias(ctx, prepared, condition),
                    running_mean(), running_var(), fused, shift);
}

Attention::Attention(const Scope& scope, int64_t channels)
    : theta(scope / "theta", channels, channels / 8, 1, false),
      phi(scope / "phi", channels, channels / 8, 1, false),
      g(scope / "g", channels, channels / 2, 1, false),
      o(scope / "o", channels / 2, channels, 1, false),
      gamma(scope.param("gamma", {1}, Init::kZeros)) {
  check(channels % 8 == 0, "attention: {} channels, expected a multiple of 8", channels);
  check(scope.spectral != nullptr, "attention: expected in a network with spectral norm");
  scope.spectral->keep_master(o.weight, true);  // it is scaled before it meets an activation
}

Var Attention::operator()(const Context& ctx, const PreparedWeights& prepared, const Var& x) const {
  const auto weight = [&](const Conv2d& layer) { return layer.weight(ctx, prepared); };
  const Var joined = join_weights(ctx, weight(theta), weight(phi), weight(g));
  const auto [query, key, value] =
      split_projections(ctx, conv2d(ctx, x, joined, {}, {}), theta.weight.param.shape()[0]);
  const Shape& s = x.shape();
  const Var mixed = reshape(ctx, attention(ctx, query, key, value), {s[0], s[1], s[2], s[3] / 2});
  const Var out = scaled_weight(ctx, weight(o), gamma.master(ctx));
  return conv1x1_add(ctx, mixed, out, {}, x);
}

ResidualMlp::ResidualMlp(const Scope& scope, int64_t in, int64_t width, int64_t block_count,
                         bool raw_input)
    : raw_input(raw_input) {
  for (int64_t i = 0; i < block_count; ++i) {
    const Scope block = scope / ("block_" + std::to_string(i));
    Block b{.linear_1 = Linear(block / "linear_1", in, width),
            .linear_2 = Linear(block / "linear_2", width, width)};
    if (in != width) b.proj = Linear(block / "proj", in, width, false);
    blocks.push_back(b);
    in = width;
  }
}

Var ResidualMlp::operator()(const Context& ctx, const PreparedWeights& prepared,
                            const Var& x) const {
  Var out = x;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const Block& b = blocks[i];
    const Var input = i == 0 && raw_input ? out : relu(ctx, out);
    const Var skip = b.proj ? b.proj(ctx, prepared, out) : out;
    out = residual_layers(ctx, input, b.linear_1.weight(ctx, prepared), b.linear_1.bias(ctx),
                          b.linear_2.weight(ctx, prepared), b.linear_2.bias(ctx), skip);
  }
  return relu(ctx, out);
}

}  // namespace bigbigan
