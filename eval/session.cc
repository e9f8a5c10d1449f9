#include "eval/session.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "engine/util/cli.h"

namespace bigbigan {
namespace {

RunSettings settings_of(const LoadedModel& loaded) {
  RunSettings settings;
  const std::vector<ConfigField> fields = {
      {"data.path", &settings.data_path, ""},
      {"data.val_images", &settings.val_images, ""},
      {"train.seed", &settings.seed, ""},
  };
  apply_toml(fields, loaded.config, loaded.source.string(), UnknownKeys::kIgnore);
  return settings;
}

}  // namespace

void add_model_options(CLI::App& app, ModelOptions& options) {
  app.add_option("model", options.model, "run directory, checkpoint directory or .safetensors file")
      ->required()
      ->type_name("MODEL");
  add_choice(app, "--weights", options.weights, "live weights, or the moving averages of G and E",
             {"live", "ema"});
  add_choice(app, "--bn", options.bn,
             "batch norm by stored statistics (each image by itself), or those of its batch",
             {"stored", "batch"});
  add_integer(app, "-b,--batch", options.batch, "images per pass through the network", 1, 65536);
  add_integer(app, "-j,--threads", options.threads, "CPU threads; 0: all cores it may use", 0,
              1024);
  add_device(app, options.device);
}

Session::Session(Vfs& vfs, ModelOptions options)
    : vfs_(vfs),
      options_(std::move(options)),
      device_(options_.device, thread_count(options_.threads)),
      ctx_(inference_context({.exec = device_.exec(), .allocator = &device_.allocator()},
                             options_.bn == "batch" ? BnMode::kBatch : BnMode::kStored)) {
  loaded_ = load_model(vfs_, options_.model, ctx_,
                       options_.weights == "ema" ? WeightSet::kEma : WeightSet::kLive);
  settings_ = settings_of(loaded_);
}

const Encoder& Session::encoder() const {
  if (!model().encoder) {
    fail(ExitCode::kConfig,
         "{}: this model has no encoder (model.loss_z and model.loss_xz are off)",
         loaded_.source.string());
  }
  return *model().encoder;
}

Vfs::Path Session::run_directory() const {
  const Vfs::Path path(options_.model);
  return vfs_.exists(path / "config.toml") ? path : Vfs::Path();
}

std::string Session::description() const {
  return fmt::format("{} weights, batch-norm statistics: {}", options_.weights, options_.bn);
}

}  // namespace bigbigan
