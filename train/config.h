// The configuration of a training run: every key of the TOML file, in sections.
#pragma once

#include <string>
#include <vector>

#include "engine/params/param_store.h"
#include "models/bigbigan/config.h"

namespace bigbigan {

struct DataConfig {
  std::string path = "/usr/share/datasets/fashion-mnist";
  bool flip = true;
  int64_t val_images = 10000;
};

struct TrainConfig {
  int64_t steps = 500000;
  double minutes = 0;
  int64_t batch = 2048;
  int64_t micro_batches = 1;
  int64_t d_steps = 2;
  double ema_decay = 0.9999;
  int64_t ema_start = 20000;
  int64_t seed = 0;
  int64_t threads = 0;
  int64_t max_bad_steps = 5;
  bool capture = true;
  bool measure_rewrites = false;  // Note [Measured rewrites]
  std::string precision = "f32";

  // Context::dtype of a training step.
  [[nodiscard]] DType dtype() const { return precision == "bf16" ? DType::kBF16 : DType::kF32; }
  // Images of one of `ranks` ranks in one micro-batch. Throws Error{kConfig}, naming the next
  // batches that do, where `batch` does not divide.
  [[nodiscard]] int64_t images_at_a_time(int ranks) const;
  // Of all updates of a step.
  [[nodiscard]] int64_t micro_batches_per_step() const { return (d_steps + 1) * micro_batches; }
};

struct OptimConfig {
  double g_lr = 5e-5, d_lr = 2e-4, e_lr = 5e-5;
  double beta1 = 0.0, beta2 = 0.999, eps = 1e-8;
};

struct CheckpointConfig {
  int64_t every_steps = 1000;
  int64_t keep = 3;
  int64_t milestone_steps = 0;
};

struct LogConfig {
  int64_t every_steps = 50;
};

struct SampleConfig {
  int64_t every_steps = 1000;
  int64_t images = 64;
};

// Many ranks: how many seconds one may be late before all end, by what they are doing; and how
// gradients travel (Note [Gradient buckets]).
struct RanksConfig {
  double setup_seconds = 600, step_seconds = 60, checkpoint_seconds = 600, picture_seconds = 1800;
  int64_t compare_every_steps = 1000;
  double bucket_mib = 25;
  std::string gradient_dtype = "f32";
  bool shard_optimizer = false;

  [[nodiscard]] StoreDivision division() const;
};

struct Config {
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  OptimConfig optim;
  CheckpointConfig checkpoint;
  LogConfig log;
  SampleConfig sample;
  RanksConfig ranks;
};

// All keys over `config`, with documentation and bounds.
std::vector<ConfigField> config_fields(Config& config);

// Presets compiled into the program: the rows of the paper's Table 1 that have a ResNet encoder or
// none, and small ones for first runs.
std::vector<std::string> preset_names();
// TOML text; throws Error{kConfig} naming the nearest preset.
std::string preset_text(const std::string& name);

}  // namespace bigbigan
