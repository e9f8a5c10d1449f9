#include "models/bigbigan/bigbigan.h"

#include "engine/ops/spatial.h"

namespace bigbigan {

BigBiGAN::BigBiGAN(const ModelConfig& model_config)
    : config(model_config),
      arch(architecture(model_config)),
      generator(config, arch, g_store),
      discriminator(config, arch, d_store) {
  if (config.loss_z || config.loss_xz) encoder.emplace(config, arch, e_store);
}

std::vector<ParamStore*> BigBiGAN::stores() {
  std::vector<ParamStore*> all = {&g_store, &d_store};
  if (encoder) all.insert(all.begin() + 1, &e_store);
  return all;
}

std::vector<RewritableBlock> BigBiGAN::rewritable_blocks() {
  std::vector<RewritableBlock> all = generator.rewritable_blocks();
  for (RewritableBlock& block : discriminator.rewritable_blocks()) all.push_back(std::move(block));
  return all;
}

void BigBiGAN::allocate(const Context& ctx, bool training, const StoreDivision& division) {
  for (ParamStore* store : stores()) store->allocate(ctx, training, division);
}

void BigBiGAN::initialize(uint64_t seed) {
  for (ParamStore* store : stores()) store->initialize(seed);
}

Tensor BigBiGAN::discriminator_image(const Context& ctx, const Tensor& x) const {
  const int64_t factor = arch.encoder_resolution / config.resolution;
  return factor == 1 ? x : box_downsample(ctx, x, factor);
}

PairScores BigBiGAN::scores(const Context& x_ctx, const Context& z_ctx, const Context& joint_ctx,
                            const PreparedWeights& d, const Var& x, const Var& z) const {
  PairScores result;
  const Var f = discriminator.image(x_ctx, d, x);
  if (config.loss_x) result.s_x = discriminator.score_x(x_ctx, d, f);
  if (!encoder) return result;
  const Var h = discriminator.latent(z_ctx, d, z);
  if (config.loss_z) result.s_z = discriminator.score_z(z_ctx, d, h);
  if (config.loss_xz) {
    result.s_xz = discriminator.score_xz(joint_ctx, d, discriminator.joint(joint_ctx, d, f, h));
  }
  return result;
}

Tensor BigBiGAN::discriminator_gradients(const Context& ctx, const StepInputs& in) {
  Context forward = ctx;
  forward.batch_statistics = true;
  forward.update_statistics = false;
  forward.power_iteration = true;
  const Var x_fake = generator(forward, generator.prepare(forward), in.z);
  const Var z_enc = encoder ? encoder->sample(forward, (*encoder)(forward, in.x), in.eps) : Var();

  Tape tape;
  tape.watch(&d_store);
  const Context taped = forward.with_tape(&tape);
  const PreparedWeights d = discriminator.prepare(taped);
  const PairScores enc =
      scores(taped, taped, taped, d, discriminator_image(ctx, in.x), z_enc.value);
  const PairScores gen = scores(taped, taped, taped, d, x_fake.value, in.z);
  const Tensor terms = discriminator_loss(taped, enc, gen, in.global_batch);
  tape.backward(forward);
  return terms;
}

Tensor BigBiGAN::encoder_generator_gradients(const Context& ctx, const StepInputs& in) {
  Context plain = ctx;
  plain.batch_statistics = true;
  plain.update_statistics = true;
  plain.power_iteration = true;
  Tape tape;
  tape.watch(&g_store);
  tape.watch(&e_store);
  const Context taped = plain.with_tape(&tape);

  // E first, so that G's backward pass comes first: it ends with the layers of most weights, whose
  // gradients travel between ranks while E's pass still runs. E's last gradients are few.
  const Var z_enc = encoder ? encoder->sample(taped, (*encoder)(taped, in.x), in.eps) : Var();
  const Var x_fake = generator(taped, generator.prepare(taped), in.z);
  const PreparedWeights d = discriminator.prepare(plain);
  const PairScores enc = scores(plain, taped, taped, d, discriminator_image(ctx, in.x), z_enc);
  const PairScores gen = scores(taped, plain, taped, d, x_fake, in.z);
  const Tensor terms = encoder_generator_loss(taped, enc, gen, in.global_batch);
  tape.backward(plain);
  return terms;
}

}  // namespace bigbigan
