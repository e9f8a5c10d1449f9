// Using a model without training it: images from latents, latents from images, and pictures of
// both.
#pragma once

#include "engine/io/png.h"
#include "engine/ops/random.h"
#include "models/bigbigan/bigbigan.h"

namespace bigbigan {

enum class BnMode : uint8_t {
  kStored,  // running statistics: each image by itself
  kBatch,   // statistics of the batch it is in
};

// `ctx` for inference: no tape, no updates.
Context inference_context(const Context& ctx, BnMode bn);

// `count` latents (count, z_dim) of the prior P_z; first_sample i64 (1) is the index of the first.
Tensor prior_latents(const Context& ctx, const ModelConfig& config, const RandomKey& key,
                     const Tensor& first_sample, int64_t count);
// Images (N, R, R, C) in [-1, 1] of latents (N, z_dim).
Tensor generate(const BigBiGAN& model, const Context& ctx, const Tensor& z);
// G(mean of E(x)) for images at E's resolution. The model must have an encoder.
Tensor reconstruct(const BigBiGAN& model, const Context& ctx, const Tensor& x);

// The same with the moving averages of G and E, for a model that trains; live weights are back on
// destruction. Called by all ranks where the model is sharded.
class UseAverages {
 public:
  explicit UseAverages(BigBiGAN& model);
  ~UseAverages();
  UseAverages(const UseAverages&) = delete;
  UseAverages& operator=(const UseAverages&) = delete;

 private:
  BigBiGAN& model_;
};

// A grid of images in [-1, 1], enlarged so that each is at least 64 pixels wide.
Image picture_of(const Context& ctx, const Tensor& images, int64_t columns);
// Rows of images (N, ...) from both, alternating: a[0], b[0], a[1], b[1], ...
Tensor interleaved(const Context& ctx, const Tensor& a, const Tensor& b);

}  // namespace bigbigan
