// The joint discriminator D: image branch F, latent branch H, joint branch J and the three linear
// scores. Paper section 2: s_x = theta_x F(x), s_z = theta_z H(z), s_xz = theta_xz J(F(x), H(z)).
#pragma once

#include "models/bigbigan/config.h"
#include "models/layers/layers.h"
#include "models/layers/lone_pass.h"

namespace bigbigan {

class Discriminator {
 public:
  // Declares its parameters in `store` under "discriminator": F, and H, J and heads for the scores
  // in use.
  Discriminator(const ModelConfig& config, const Architecture& architecture, ParamStore& store);

  [[nodiscard]] PreparedWeights prepare(const Context& ctx) const { return spectral_.prepare(ctx); }
  // F: images (N, R, R, C) -> (N, image_features)
  Var image(const Context& ctx, const PreparedWeights& prepared, const Var& x) const;
  // H: latents (N, z_dim) -> (N, mlp_width)
  Var latent(const Context& ctx, const PreparedWeights& prepared, const Var& z) const;
  // J: F's and H's outputs -> (N, mlp_width)
  Var joint(const Context& ctx, const PreparedWeights& prepared, const Var& f, const Var& h) const;
  // Scores (N, 1) of the outputs of F, H and J.
  Var score_x(const Context& ctx, const PreparedWeights& prepared, const Var& f) const;
  Var score_z(const Context& ctx, const PreparedWeights& prepared, const Var& h) const;
  Var score_xz(const Context& ctx, const PreparedWeights& prepared, const Var& j) const;
  // The blocks of F that halve the image; they refer to this discriminator.
  [[nodiscard]] std::vector<RewritableBlock> rewritable_blocks();

 private:
  struct Block {
    Conv2d conv_1, conv_2, conv_sc;
    bool down = false, first = false, is_rewritten = false;
  };
  Var block(const Context& ctx, const PreparedWeights& prepared, const Block& block,
            const Var& x) const;
  void choose_rewrite(Block& block, bool rewritten);

  SpectralSet spectral_;
  int64_t resolution_, attention_resolution_;
  std::vector<Block> blocks_;
  Attention attention_;
  Linear score_x_, score_z_, score_xz_;
  ResidualMlp latent_, joint_;
};

}  // namespace bigbigan
