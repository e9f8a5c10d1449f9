// What a BigBiGAN is made of: the keys `model.*`, and the architecture they resolve to.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/util/config.h"

namespace bigbigan {

// Keys of the configuration file. 0 or -1 mean "as published for this resolution", see
// architecture().
struct ModelConfig {
  int64_t resolution = 128;  // of G's output and D's input: 32, 64, 128 or 256
  int64_t image_channels = 3;
  int64_t z_dim = 120;
  std::string prior = "normal";  // P_z: normal N(0, I), or uniform U(-1, 1)
  int64_t embed_dim = 128;       // shared class embedding of G

  int64_t g_width = 96;  // ch of BigGAN
  int64_t d_width = 96;
  std::vector<int64_t> g_channels;  // block inputs, last output; empty: the table times g_width
  std::vector<int64_t> d_channels;  // block outputs; empty: the table times d_width
  int64_t g_attention = -1;         // resolution of G's attention block; 0 none, -1 the table's
  int64_t d_attention = -1;
  int64_t mlp_width = 2048;  // H and J
  int64_t mlp_blocks = 4;

  std::string encoder = "resnet50";       // resnet14, resnet26, resnet50, resnet101 or basic
  double encoder_width = 1.0;             // C of the ResNets
  std::vector<int64_t> encoder_channels;  // basic: channels of the stages
  int64_t encoder_resolution = 0;         // of E's input; 0: resolution
  int64_t encoder_head_width = 4096;
  int64_t encoder_head_blocks = 2;
  bool encoder_stochastic = true;  // E predicts mean and deviation; off: z itself
  bool encoder_last_relu = true;   // ReLU between the last BN and the average pool

  bool loss_x = true, loss_z = true, loss_xz = true;  // which scores the losses use

  bool rewrites = true;  // Note [Exact rewrites] in engine/ops/conv.h
  double sn_eps = 1e-4;
  double g_bn_eps = 1e-4;
  double e_bn_eps = 1e-3;
  double bn_momentum = 0.99;
};

// The keys "model.*" over `config`.
std::vector<ConfigField> config_fields(ModelConfig& config);

// A ModelConfig with the tables filled in.
struct Architecture {
  std::vector<int64_t> g_channels;  // blocks + 1
  std::vector<int64_t> d_channels;  // blocks
  int64_t d_downs = 0;              // the first d_downs blocks of D halve the image
  int64_t g_attention = 0, d_attention = 0;
  int64_t z_chunk = 0;  // z_dim / (G blocks + 1)
  bool bottleneck = true;
  int64_t stem_channels = 0;
  bool small_stem = false;              // 3x3/1 without max-pool
  std::vector<int64_t> stage_channels;  // outputs
  std::vector<int64_t> stage_units;
  int64_t encoder_resolution = 0;
};

// Throws Error{kConfig} listing every key that does not fit, with what would.
Architecture architecture(const ModelConfig& config);

}  // namespace bigbigan
