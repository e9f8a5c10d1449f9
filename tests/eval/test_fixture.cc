#include <sys/wait.h>

#include <cstdlib>
#include <fstream>

#include "tests/eval/fixture.h"

namespace bigbigan {
namespace {

void write_idx(const Vfs::Path& path, std::initializer_list<uint8_t> shape,
               const std::string& data) {
  std::string file = {'\0', '\0', '\x08', static_cast<char>(shape.size())};
  for (const uint8_t size : shape) file += {'\0', '\0', '\0', static_cast<char>(size)};
  write_raw(path, file + data);
}

void write_split(const Vfs::Path& folder, const std::string& prefix, int64_t count) {
  constexpr int64_t kSide = 8;
  std::string pixels, labels;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t label = i * 7 % kClasses;
    labels += static_cast<char>(label);
    for (int64_t p = 0; p < kSide * kSide; ++p) {
      pixels += static_cast<char>(40 + 80 * label + (i * 31 + p * 17) % 40);
    }
  }
  write_idx(folder / (prefix + "-images-idx3-ubyte"), {static_cast<uint8_t>(count), kSide, kSide},
            pixels);
  write_idx(folder / (prefix + "-labels-idx1-ubyte"), {static_cast<uint8_t>(count)}, labels);
}

// Running statistics unlike those of a new model (0 and 1).
void disturb_statistics(BigBiGAN& model) {
  for (ParamStore* store : model.stores()) {
    for (const auto& entry : store->buffer_entries()) {
      if (entry.kind != BufferKind::kStatistics) continue;
      const Tensor values = store->of(entry, false);
      const bool is_mean = entry.name.ends_with("running_mean");
      for (int64_t i = 0; i < values.elems(); ++i) {
        values.as<float>()[i] = is_mean ? 0.02f * static_cast<float>(i % 5 - 2)
                                        : 0.3f + 0.1f * static_cast<float>(i % 5);
      }
    }
  }
}

CheckpointFile weights_file(const char* name, BigBiGAN& model, WeightSet set,
                            const std::string& config) {
  return {name, [&model, set, config](WritableFile& file) {
            const ExportedWeights weights = export_weights(model, set);
            write_safetensors(file, weights.tensors,
                              {{"format", "bigbigan"}, {"step", "7"}, {"config", config}});
          }};
}

}  // namespace

void write_tiny_data(const Vfs::Path& folder) {
  std::filesystem::create_directory(folder);
  write_split(folder, "train", kTrainImages);
  write_split(folder, "t10k", kTestImages);
}

TinyRun::TinyRun() {
  write_tiny_data(data());
  std::string config = kTinyConfig;
  config.replace(config.find("[data]"), 6, "[data]\npath = \"" + data().string() + "\"");
  ModelConfig model_config;
  apply_toml(config_fields(model_config), config, "fixture", UnknownKeys::kIgnore);
  HostAllocator allocator;
  const Context ctx{.exec = CpuExec{}, .allocator = &allocator};
  BigBiGAN model(model_config);
  model.allocate(ctx, true);
  model.initialize(3);
  disturb_statistics(model);
  for (ParamStore* store : model.stores()) {
    store->reset_ema();
    if (!store->is_averaged()) continue;
    for (int64_t i = 0; i < store->ema.elems(); ++i) store->ema.as<float>()[i] *= 0.9f;
  }
  std::filesystem::create_directory(run());
  write_raw(run() / "config.toml", config);
  const CheckpointFile files[] = {weights_file(kModelFile, model, WeightSet::kLive, config),
                                  weights_file(kEmaFile, model, WeightSet::kEma, config)};
  save_checkpoint(vfs, run(), 7, files);
}

ProgramResult run_program_of_build(const std::string& program, const std::string& arguments) {
  const ScratchFolder folder;
  const auto out = folder / "out", err = folder / "err";
  const std::string command = std::string(BIGBIGAN_BINARY_DIR) + "/eval/" + program + " " +
                              arguments + " > " + out.string() + " 2> " + err.string();
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_raw(out), read_raw(err)};
}

TEST_CASE("the fixture is a model that loads", "[eval]") {
  TinyRun tiny;
  const Session session = tiny.session();
  REQUIRE(session.loaded().step == 7);
  REQUIRE(session.encoder().features() == kTinyFeatures);
  REQUIRE(session.settings().val_images == 12);
}

}  // namespace bigbigan
