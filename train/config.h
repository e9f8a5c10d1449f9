// The configuration of a training run: every key of the TOML file, in sections.
#pragma once

#include <string>
#include <vector>

#include "engine/util/config.h"
#include "models/bigbigan/config.h"

namespace bigbigan {

struct DataConfig {
  std::string path = "/usr/share/datasets/fashion-mnist";
  bool flip = true;            // random left-right mirroring of training images
  int64_t val_images = 10000;  // held out of the training images for model selection
  bool train_on_val = false;   // G, E and D also see the held-out images (the probe never does)
};

struct TrainConfig {
  int64_t steps = 500000;
  double minutes = 0;  // stop after this wall-clock time of training, with a checkpoint; 0: no limit
  int64_t batch = 2048;
  int64_t micro_batch = 0;  // images per rank and forward pass; 0: the whole batch of the rank
  int64_t d_steps = 2;
  double ema_decay = 0.9999;
  int64_t ema_start = 20000;  // before this step the averages equal the live weights
  int64_t seed = 0;
  int64_t threads = 0;  // CPU threads; 0: the cores this process may use
  int64_t max_bad_steps = 5;  // consecutive steps skipped for NaN or Inf before the run ends with exit 79
};

struct OptimConfig {
  double g_lr = 5e-5, d_lr = 2e-4, e_lr = 5e-5;
  double beta1 = 0.0, beta2 = 0.999, eps = 1e-8;
};

struct CheckpointConfig {
  int64_t every_steps = 1000;
  int64_t keep = 3;
  int64_t milestone_steps = 0;  // checkpoints at multiples of this are kept for ever; 0: none
};

struct LogConfig {
  int64_t every_steps = 50;
};

struct SampleConfig {
  int64_t every_steps = 1000;  // grids of samples and reconstructions; 0: none
  int64_t images = 64;
};

struct Config {
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  OptimConfig optim;
  CheckpointConfig checkpoint;
  LogConfig log;
  SampleConfig sample;

  template <class V>
  void visit(V& v);
};

}  // namespace bigbigan
