#include "models/bigbigan/inference.h"

#include "engine/ops/image.h"

namespace bigbigan {

Context inference_context(const Context& ctx, BnMode bn) {
  Context plain = ctx.with_tape(nullptr);
  plain.batch_statistics = bn == BnMode::kBatch;
  plain.update_statistics = false;
  plain.power_iteration = false;
  return plain;
}

Tensor prior_latents(const Context& ctx, const ModelConfig& config, const RandomKey& key,
                     const Tensor& first_sample, int64_t count) {
  const Shape shape{count, config.z_dim};
  return config.prior == "uniform" ? random_uniform(ctx, key, first_sample, shape)
                                   : random_normal(ctx, key, first_sample, shape);
}

Tensor generate(const BigBiGAN& model, const Context& ctx, const Tensor& z) {
  return model.generator(ctx, model.generator.prepare(ctx), z).value;
}

Tensor reconstruct(const BigBiGAN& model, const Context& ctx, const Tensor& x) {
  check(model.encoder.has_value(), "reconstruct: the model has no encoder");
  return generate(model, ctx, model.encoder->mean_and_stdev(ctx, (*model.encoder)(ctx, x)).first);
}

UseAverages::UseAverages(BigBiGAN& model) : model_(model) {
  for (ParamStore* store : model_.stores()) store->begin_averages();
}

UseAverages::~UseAverages() {
  try {
    for (ParamStore* store : model_.stores()) store->end_averages();
  } catch (const Error&) {  // a device that has failed: whoever uses it next is told so
  }
}

Image picture_of(const Context& ctx, const Tensor& images, int64_t columns) {
  constexpr int64_t kReadableWidth = 64;
  const Shape& s = images.shape();
  const auto bytes = denormalize_image(ctx, images).to_vector<uint8_t>();
  const Image grid = image_grid(bytes, s[0], s[1], s[2], s[3], columns);
  return enlarged(grid, std::max<int64_t>(1, kReadableWidth / s[2]));
}

Tensor interleaved(const Context& ctx, const Tensor& a, const Tensor& b) {
  check_shape("interleaved", "b", b.shape(), a.shape());
  const int64_t n = a.shape()[0];
  const Tensor out = Tensor::empty(ctx, a.shape().with_dim0(2 * n), a.dtype());
  for (int64_t i = 0; i < n; ++i) {
    out.slice(2 * i, 2 * i + 1).copy_from(a.slice(i, i + 1));
    out.slice(2 * i + 1, 2 * i + 2).copy_from(b.slice(i, i + 1));
  }
  return out;
}

}  // namespace bigbigan
