// The whole model: G, E and D with their parameters, and the two losses of a training step.
// Paper section 2; which gradient flows where: Note [Two updates].
#pragma once

#include <memory>
#include <optional>

#include "engine/ops/loss.h"
#include "models/bigbigan/discriminator.h"
#include "models/bigbigan/encoder.h"
#include "models/bigbigan/generator.h"

namespace bigbigan {

// What one update reads. Batches may be empty on a rank.
struct StepInputs {
  Tensor x;                  // images at E's resolution, (N, Re, Re, C) in [-1, 1]
  Tensor z;                  // prior latents (M, z_dim)
  Tensor eps;                // E's noise (N, z_dim); unused where E is deterministic
  int64_t global_batch = 0;  // over all ranks
};

class BigBiGAN {
 public:
  // Declares all parameters. Throws Error{kConfig} where the configuration does not fit.
  explicit BigBiGAN(const ModelConfig& config);

  // Allocates the stores, see ParamStore::allocate.
  void allocate(const Context& ctx, bool training, const StoreDivision& division = {});
  void initialize(uint64_t seed);

  // Note [Two updates]: the discriminator update differentiates L_D with respect to D only: G and E
  // run forward without a tape. The encoder-generator update differentiates L_EG with respect to G
  // and E; D's weights are constants. F(x) of real images and H(z) of prior latents depend on
  // neither, so they run without a tape, and only what is read is computed: no weight gradient of
  // D, F's input gradient for generated images only, H's for encoded latents only.
  //
  // Both write the gradients of their stores (of normalised weights those of w / sigma: ParamStore)
  // and return the loss terms (engine/ops/loss.h). `ctx` is the context without a tape; spectral
  // norm iterates once per network, batch norm uses batch statistics.
  Tensor discriminator_gradients(const Context& ctx, const StepInputs& inputs);
  Tensor encoder_generator_gradients(const Context& ctx, const StepInputs& inputs);

  // Encoder input to D's resolution by box averaging.
  [[nodiscard]] Tensor discriminator_image(const Context& ctx, const Tensor& x) const;

  const ModelConfig config;
  const Architecture arch;
  ParamStore g_store{"generator", /*is_averaged=*/true}, e_store{"encoder", /*is_averaged=*/true},
      d_store{"discriminator"};
  Generator generator;
  std::optional<Encoder> encoder;  // none where no score reads a latent ("No E (GAN)")
  Discriminator discriminator;

  [[nodiscard]] std::vector<ParamStore*> stores();
  // Of G, then of D.
  [[nodiscard]] std::vector<RewritableBlock> rewritable_blocks();

 private:
  // H(z) and the scores of one half of the pairs, given F(x).
  PairScores scores(const Context& x_ctx, const Context& z_ctx, const Context& joint_ctx,
                    const PreparedWeights& d, const Var& x, const Var& z) const;
};

}  // namespace bigbigan
