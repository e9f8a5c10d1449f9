// Layers: structs of parameter handles with a forward operator. They own nothing and have no mode.
//
// A Scope declares parameters under a name prefix; names and shapes: docs/parameters.md.
#pragma once

#include "engine/ops/conv.h"
#include "engine/ops/norm.h"
#include "models/layers/spectral.h"

namespace bigbigan {

// Where a layer declares itself: a store, a name prefix, and the spectral set (null: no
// normalisation).
struct Scope {
  ParamStore& store;
  std::string prefix;
  SpectralSet* spectral = nullptr;

  // The scope `<prefix>.<name>`.
  [[nodiscard]] Scope operator/(std::string_view name) const;
  // `<prefix>.weight`, orthogonal, normalised if the scope has a spectral set.
  [[nodiscard]] Weight weight(const Shape& shape, ParamLayout layout) const;
  [[nodiscard]] Param param(std::string_view name, const Shape& shape, Init init) const;
  // `<prefix>.<name>`, one of batch norm's running statistics.
  [[nodiscard]] Buffer statistics(std::string_view name, int64_t channels, double initial) const;
};

// y = x w^T + b. Names: weight, bias.
struct Linear {
  Weight weight;
  Param bias;

  Linear() = default;
  Linear(const Scope& scope, int64_t in, int64_t out, bool with_bias = true);
  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(weight); }
  Var operator()(const Context& ctx, const PreparedWeights& prepared, const Var& x) const;
};

// Square convolution, padding kernel / 2. Names: weight, bias.
struct Conv2d {
  Weight weight;
  Param bias;
  int64_t kernel = 0;

  Conv2d() = default;
  Conv2d(const Scope& scope, int64_t in, int64_t out, int64_t kernel, bool with_bias);
  [[nodiscard]] explicit operator bool() const { return kernel > 0; }
  Var operator()(const Context& ctx, const PreparedWeights& prepared, const Var& x,
                 int64_t stride = 1, bool relu = false) const;
  // A term of a sum that gives the bias its gradient (Note [Biases of a sum]), stride 1.
  Var term(const Context& ctx, const PreparedWeights& prepared, const Var& x) const;
  // The end of a residual block: the convolution of x, 1x1, added to `addend`, whose bias may be
  // empty.
  Var added_to(const Context& ctx, const PreparedWeights& prepared, const Var& addend, const Var& x,
               const Var& addend_bias = {}) const;
  [[nodiscard]] Var bias_var(const Context& ctx) const { return bias ? bias(ctx) : Var(); }
};

// Affine batch norm. Names: weight (gain), bias, running_mean, running_var.
struct BatchNorm {
  Param gain, bias;
  Buffer running_mean, running_var;
  BatchNormOptions options;

  BatchNorm() = default;
  BatchNorm(const Scope& scope, int64_t channels, const BatchNormOptions& options);
  Var operator()(const Context& ctx, const Var& x) const;
};

// Conditional batch norm: gain 1 + W_g c, shift W_b c. Names: gain.weight, bias.weight, running_*.
struct ConditionalBatchNorm {
  Linear gain, bias;
  Buffer running_mean, running_var;
  BatchNormOptions options;

  ConditionalBatchNorm() = default;
  ConditionalBatchNorm(const Scope& scope, int64_t channels, int64_t condition,
                       const BatchNormOptions& options);
  // `upsample` also fuses the nearest 2x upsampling; `shift` as in batch_norm.
  Var operator()(const Context& ctx, const PreparedWeights& prepared, const Var& x,
                 const Var& condition, bool upsample, const Tensor& shift = {}) const;
};

// BigGAN's non-local block: x + gamma o(attention(theta(x), pool phi(x), pool g(x))). theta, phi
// and g are parameters of their own, and one convolution. gamma scales o's weight, not its result,
// so that one product forms the sum: gamma (W m) = (gamma W) m. In a network with spectral norm.
struct Attention {
  Conv2d theta, phi, g, o;
  Param gamma;

  Attention() = default;
  Attention(const Scope& scope, int64_t channels);
  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(theta); }
  Var operator()(const Context& ctx, const PreparedWeights& prepared, const Var& x) const;
};

// Residual MLP of H, J and E's head: per block h = W2 relu(W1 relu(x)), out = h + (P x or x); a
// final ReLU.
struct ResidualMlp {
  struct Block {
    Linear linear_1, linear_2, proj;  // proj: where the width changes
  };
  std::vector<Block> blocks;
  bool raw_input = false;  // the first block does not rectify its input

  ResidualMlp() = default;
  ResidualMlp(const Scope& scope, int64_t in, int64_t width, int64_t block_count, bool raw_input);
  Var operator()(const Context& ctx, const PreparedWeights& prepared, const Var& x) const;
};

}  // namespace bigbigan
