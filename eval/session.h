// What every command that uses a model starts with: its options, the loaded weights, and where it
// runs.
#pragma once

#include <string>

#include "engine/core/device.h"
#include "engine/io/vfs.h"
#include "models/bigbigan/inference.h"
#include "models/bigbigan/load.h"

namespace CLI {
class App;
}

namespace bigbigan {

struct ModelOptions {
  std::string model;            // run directory, checkpoint directory or .safetensors file
  std::string weights = "ema";  // live, ema
  std::string bn = "stored";    // batch, stored
  std::string device = "auto";
  int64_t batch = 256;
  int64_t threads = 0;  // 0: the cores this process may use
};
// MODEL, --weights, --bn, --batch, --device, --threads.
void add_model_options(CLI::App& app, ModelOptions& options);

// Keys of a run's configuration that evaluation needs beside the model's.
struct RunSettings {
  std::string data_path;
  int64_t val_images = 10000;
  int64_t seed = 0;
};

// A loaded model, ready for inference. Throws as load_model does, and Error{kSystem} for a device
// that this build does not have.
class Session {
 public:
  Session(Vfs& vfs, ModelOptions options);

  [[nodiscard]] BigBiGAN& model() const { return *loaded_.model; }
  // The model's encoder; throws Error{kConfig} where it has none.
  [[nodiscard]] const Encoder& encoder() const;
  // No tape, no updates; batch norm as asked for.
  [[nodiscard]] Context context() const { return ctx_; }
  // For work on the host: features, classifiers.
  [[nodiscard]] const CpuExec& exec() const { return device_.cpu(); }
  [[nodiscard]] Vfs& vfs() const { return vfs_; }
  [[nodiscard]] const ModelOptions& options() const { return options_; }
  [[nodiscard]] const RunSettings& settings() const { return settings_; }
  [[nodiscard]] const LoadedModel& loaded() const { return loaded_; }
  // The run directory, or empty where MODEL is something else.
  [[nodiscard]] Vfs::Path run_directory() const;
  // "ema weights, batch-norm statistics: stored"
  [[nodiscard]] std::string description() const;

 private:
  Vfs& vfs_;
  ModelOptions options_;
  Device device_;
  Context ctx_;
  LoadedModel loaded_;
  RunSettings settings_;
};

}  // namespace bigbigan
