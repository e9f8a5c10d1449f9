#include "models/bigbigan/load.h"

#include <charconv>

#include "engine/io/checkpoint.h"

namespace bigbigan {
namespace {

// The checkpoint directory that `path` names or contains; empty for a file.
Vfs::Path checkpoint_of(Vfs& vfs, const Vfs::Path& path) {
  if (path.extension() == ".safetensors") return {};
  if (!vfs.exists(path))
    fail(ExitCode::kNoInput,
         "{}: not found; expected a run or checkpoint directory, or a .safetensors file",
         path.string());
  if (vfs.exists(path / kModelFile)) {
    verify_checkpoint(vfs, path);
    return path;
  }
  std::vector<std::string> complaints;
  const auto newest = newest_checkpoint(vfs, path, complaints);
  if (!newest) {
    fail(ExitCode::kNoInput,
         "{}: no checkpoint there; expected a run of bigbigan-train that has saved one (step-...)",
         path.string());
  }
  return *newest;
}

std::string metadata_of(const SafetensorsFile& file, const std::string& key,
                        const Vfs::Path& path) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) {
    fail(ExitCode::kBadData, "{}: its metadata has no {}: not written by bigbigan-train",
         path.string(), key);
  }
  return found->second;
}

}  // namespace

LoadedModel load_model(Vfs& vfs, const Vfs::Path& path, const Context& ctx, WeightSet set) {
  LoadedModel loaded;
  const Vfs::Path checkpoint = checkpoint_of(vfs, path);
  loaded.source = checkpoint.empty() ? path : checkpoint;
  const Vfs::Path model_path = checkpoint.empty() ? path : checkpoint / kModelFile;
  SafetensorsFile live(vfs, model_path);
  loaded.config = metadata_of(live, "config", model_path);
  const std::string step = metadata_of(live, "step", model_path);
  std::from_chars(step.data(), step.data() + step.size(), loaded.step);

  ModelConfig config;
  apply_toml(config_fields(config), loaded.config, model_path.string(), UnknownKeys::kIgnore);
  loaded.model = std::make_unique<BigBiGAN>(config);
  loaded.model->allocate(ctx, false);
  import_weights(*loaded.model, WeightSet::kLive, live);
  if (set == WeightSet::kEma && !checkpoint.empty()) {
    SafetensorsFile averages(vfs, checkpoint / kEmaFile);
    import_averages(*loaded.model, averages);
  }
  return loaded;
}

void load_weights(Vfs& vfs, const Vfs::Path& path, BigBiGAN& model) {
  const Vfs::Path checkpoint = checkpoint_of(vfs, path);
  SafetensorsFile live(vfs, checkpoint.empty() ? path : checkpoint / kModelFile);
  import_weights(model, WeightSet::kLive, live);
  for (ParamStore* store : model.stores()) store->reset_ema();
  if (checkpoint.empty()) return;
  SafetensorsFile averages(vfs, checkpoint / kEmaFile);
  import_weights(model, WeightSet::kEma, averages);
}

}  // namespace bigbigan
