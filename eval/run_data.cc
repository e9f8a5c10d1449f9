#include "eval/run_data.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "engine/io/checkpoint.h"
#include "engine/io/jsonl.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr int64_t kMaxConfigBytes = 1 << 20;

std::vector<FlatJson> lines_of(Vfs& vfs, const Vfs::Path& path) {
  return vfs.exists(path) ? read_jsonl(vfs, path) : std::vector<FlatJson>();
}

// <prefix>-<step>.png, by step.
std::vector<RunPicture> pictures_of(Vfs& vfs, const Vfs::Path& run, const std::string& prefix) {
  std::vector<RunPicture> pictures;
  for (const std::string& name : vfs.list(run)) {
    if (!name.starts_with(prefix + "-") || !name.ends_with(".png")) continue;
    const char *begin = name.data() + prefix.size() + 1, *end = name.data() + name.size() - 4;
    RunPicture picture{0, run / name};
    const auto [after, error] = std::from_chars(begin, end, picture.step);
    if (error == std::errc() && after == end) pictures.push_back(picture);
  }
  std::sort(pictures.begin(), pictures.end(),
            [](const auto& a, const auto& b) { return a.step < b.step; });
  return pictures;
}

}  // namespace

double number_of(const FlatJson& line, const std::string& key) {
  const JsonValue* value = json_find(line, key);
  if (value != nullptr) {
    if (const auto* number = std::get_if<double>(value)) return *number;
    if (const auto* integer = std::get_if<int64_t>(value)) return static_cast<double>(*integer);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

std::string text_of(const FlatJson& line, const std::string& key) {
  const JsonValue* value = json_find(line, key);
  if (value == nullptr) return {};
  if (const auto* text = std::get_if<std::string>(value)) return *text;
  if (const auto* integer = std::get_if<int64_t>(value)) return std::to_string(*integer);
  return {};
}

RunData read_run(Vfs& vfs, const Vfs::Path& run) {
  const Vfs::Path config_path = run / "config.toml";
  if (!vfs.exists(config_path)) {
    fail(ExitCode::kNoInput,
         "{}: no run there (config.toml is missing); expected the --run-dir of bigbigan-train",
         run.string());
  }
  RunData data;
  data.name = std::filesystem::weakly_canonical(run).filename().string();
  data.config = read_text(vfs, config_path, kMaxConfigBytes);
  std::vector<ConfigField> fields = config_fields(data.model);
  const std::vector<ConfigField> others = {
      {"data.path", &data.data_path, ""}, {"data.val_images", &data.val_images, ""},
      {"train.batch", &data.batch, ""},   {"train.d_steps", &data.d_steps, ""},
      {"train.seed", &data.seed, ""},     {"train.ema_decay", &data.ema_decay, ""},
      {"optim.g_lr", &data.g_lr, ""},     {"optim.d_lr", &data.d_lr, ""},
      {"optim.e_lr", &data.e_lr, ""}};
  fields.insert(fields.end(), others.begin(), others.end());
  apply_toml(fields, data.config, config_path.string(), UnknownKeys::kIgnore);
  data.stats = lines_of(vfs, run / "stats.jsonl");
  data.probe = lines_of(vfs, run / "metric-probe.jsonl");
  data.knn = lines_of(vfs, run / "metric-knn.jsonl");
  data.samples = pictures_of(vfs, run, "fakes");
  data.reconstructions = pictures_of(vfs, run, "recon");
  if (vfs.exists(run / "reals.png")) data.reals = run / "reals.png";
  data.checkpoints = checkpoint_steps(vfs, run);
  return data;
}

}  // namespace bigbigan
