// The generator G: BigGAN (not BigGAN-deep) with hierarchical latents and one class label.
// Paper section 3.1; layer by layer as in BigGAN appendix B.
#pragma once

#include "models/bigbigan/config.h"
#include "models/layers/layers.h"
#include "models/layers/lone_pass.h"

namespace bigbigan {

class Generator {
 public:
  // Declares its parameters in `store` under "generator".
  Generator(const ModelConfig& config, const Architecture& architecture, ParamStore& store);

  [[nodiscard]] PreparedWeights prepare(const Context& ctx) const { return spectral_.prepare(ctx); }
  // z (N, z_dim) -> images (N, R, R, image_channels) in [-1, 1].
  Var operator()(const Context& ctx, const PreparedWeights& prepared, const Var& z) const;
  // All blocks; they refer to this generator.
  [[nodiscard]] std::vector<RewritableBlock> rewritable_blocks();

 private:
  struct Block {
    ConditionalBatchNorm bn_1, bn_2;
    Conv2d conv_1, conv_2, conv_sc;
    bool is_rewritten = false;
  };
  Var block(const Context& ctx, const PreparedWeights& prepared, const Block& block, const Var& x,
            const Var& condition) const;
  void choose_rewrite(Block& block, bool rewritten);

  SpectralSet spectral_;
  int64_t z_chunk_, first_channels_, attention_resolution_;
  Param shared_;
  Linear linear_;
  std::vector<Block> blocks_;
  Attention attention_;
  BatchNorm output_bn_;
  Conv2d output_conv_;
};

}  // namespace bigbigan
