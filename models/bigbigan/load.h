// A trained model from disk: a run directory, a checkpoint directory, or one safetensors file.
#pragma once

#include <memory>

#include "engine/io/vfs.h"
#include "models/bigbigan/weights.h"

namespace bigbigan {

struct LoadedModel {
  std::unique_ptr<BigBiGAN> model;
  Vfs::Path source;    // the checkpoint or file that was read
  std::string config;  // the whole configuration of the run, as TOML
  int64_t step = 0;
};

// Names of the files of a checkpoint.
inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kEmaFile = "ema.safetensors";
inline constexpr const char* kOptimFile = "optim.safetensors";
inline constexpr const char* kStateFile = "state.json";

// kEma puts the moving averages of G and E in the place of their weights; D stays live. Of a run,
// the newest checkpoint that verifies is taken. Throws Error{kNoInput}, {kBadData}, {kNoCheckpoint}
// or {kConfig}.
LoadedModel load_model(Vfs& vfs, const Vfs::Path& path, const Context& ctx, WeightSet set);

// The weights and moving averages at `path` into a model allocated for training; where there are no
// averages, as in a file, they start from the weights. Throws as load_model does.
void load_weights(Vfs& vfs, const Vfs::Path& path, BigBiGAN& model);

}  // namespace bigbigan
