#include "tests/e2e/tiny_training.h"

#include <fmt/format.h>

#include <random>
#include <regex>

#include "engine/io/checkpoint.h"
#include "engine/io/jsonl.h"
#include "engine/io/npy.h"

namespace bigbigan {
namespace {

constexpr const char* kConfig = R"(
[model]
resolution = 32
image_channels = 1
z_dim = 8
g_channels = [8, 8, 8, 8]
d_channels = [8, 8, 8, 8]
mlp_width = 16
encoder = "basic"
encoder_channels = [8, 8, 8, 8]
encoder_head_width = 8
[data]
val_images = 8
[train]
batch = 8
steps = 8
d_steps = 1
ema_decay = 0.9
ema_start = 3
threads = 2
[optim]
g_lr = 1e-3
d_lr = 1e-3
e_lr = 1e-3
[checkpoint]
every_steps = 2
[log]
every_steps = 1
[sample]
every_steps = 0
images = 4
)";

// The number after the last `mark` in a text, or 0.
int64_t number_after_last(const std::string& text, const std::string& mark) {
  const size_t at = text.rfind(mark);
  return at == std::string::npos ? 0 : std::stoll(text.substr(at + mark.size()));
}

}  // namespace

TinyTraining::TinyTraining() {
  write_tiny_images(folder_ / "images.npy", 64);
  write_raw(folder_ / "tiny.toml", kConfig);
}

std::vector<std::string> TinyTraining::arguments(const std::string& name,
                                                 const std::vector<std::string>& more) const {
  std::vector<std::string> all = {
      trainer(),  "--config",    folder_ / "tiny.toml", "--data", folder_ / "images.npy",
      "--resume", folder_ / name};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

ProcessResult TinyTraining::train(const std::string& name, const std::vector<std::string>& more,
                                  const std::vector<std::string>& environment) const {
  return run_process(arguments(name, more), environment);
}

void TinyTraining::train_well(const std::string& name, const std::vector<std::string>& more) const {
  const ProcessResult result = train(name, more);
  INFO(result.err);
  REQUIRE(result.code == 0);
}

std::vector<int64_t> TinyTraining::steps(const std::string& name) const {
  PosixVfs vfs;
  return checkpoint_steps(vfs, folder_ / name);
}

std::string TinyTraining::state(const std::string& name, int64_t step) const {
  const auto checkpoint = checkpoint_path(folder_ / name, step);
  std::string all;
  for (const char* file : {"model.safetensors", "optim.safetensors", "ema.safetensors"}) {
    all += read_raw(checkpoint / file);
  }
  static const std::regex elapsed("\"elapsed_seconds\":[^,]*,");
  all += std::regex_replace(read_raw(checkpoint / "state.json"), elapsed, "");
  return fmt::format("{} bytes, hash {:016x}", all.size(), std::hash<std::string>()(all));
}

std::string TinyTraining::history(const std::string& name) const {
  PosixVfs vfs;
  const std::filesystem::path path = folder_ / name / "stats.jsonl";
  std::string text;
  for (const FlatJson& line : read_jsonl(vfs, path)) {
    FlatJson part;
    for (const auto& [key, value] : line) {
      if (key == "step" || key == "images" || key.starts_with("loss"))
        part.emplace_back(key, value);
    }
    text += to_json(part) + "\n";
  }
  return text;
}

std::string trainer() { return BIGBIGAN_TRAINER; }

int64_t last_saved(const ProcessResult& result) {
  // A line that the kill cut off was not reported.
  const size_t end = result.out.rfind('\n');
  return end == std::string::npos ? 0 : number_after_last(result.out.substr(0, end), "/step-");
}

int64_t resumed_from(const ProcessResult& result) {
  const size_t at = result.err.find("resumed ");
  if (at == std::string::npos) return 0;
  return number_after_last(result.err.substr(at, result.err.find('\n', at) - at), "/step-");
}

void write_tiny_images(const std::filesystem::path& path, int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> pixels(n * 32 * 32);
  for (uint8_t& pixel : pixels) pixel = static_cast<uint8_t>(random());
  PosixVfs vfs;
  if (vfs.exists(path)) vfs.remove_file(path);
  write_npy(vfs, path, DType::kU8, std::vector<int64_t>{n, 32, 32},
            std::as_bytes(std::span(pixels)));
}

}  // namespace bigbigan
