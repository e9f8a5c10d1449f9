// What a run directory holds, as far as a report shows it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/io/flat_json.h"
#include "engine/io/vfs.h"
#include "models/bigbigan/config.h"

namespace bigbigan {

struct RunPicture {
  int64_t step = 0;
  Vfs::Path path;
};

struct RunData {
  std::string name;    // of the directory
  std::string config;  // TOML
  ModelConfig model;
  std::string data_path;
  int64_t batch = 0, d_steps = 0, seed = 0, val_images = 0;
  double g_lr = 0, d_lr = 0, e_lr = 0, ema_decay = 0;
  std::vector<FlatJson> stats;                       // lines of stats.jsonl
  std::vector<FlatJson> probe, knn;                  // lines of metric-*.jsonl
  std::vector<RunPicture> samples, reconstructions;  // by step
  std::optional<Vfs::Path> reals;
  std::vector<int64_t> checkpoints;  // steps
};

// Files that are missing leave their part empty. Throws Error{kNoInput} where `run` has no
// config.toml.
RunData read_run(Vfs& vfs, const Vfs::Path& run);

// A number of a line, NaN where it is missing.
double number_of(const FlatJson& line, const std::string& key);
// A text of a line, or an integer as text; empty where it is missing.
std::string text_of(const FlatJson& line, const std::string& key);

}  // namespace bigbigan
