// bigbigan-train on a model and data so small that a step takes milliseconds.
#pragma once

#include <string>
#include <vector>

#include "tests/e2e/process.h"

namespace bigbigan {

// A folder with data (images.npy), a configuration (tiny.toml: a checkpoint every two steps, the
// last three kept, a log line every step) and runs.
class TinyTraining {
 public:
  TinyTraining();

  [[nodiscard]] std::filesystem::path operator/(std::string_view name) const {
    return folder_ / name;
  }
  // Arguments that start or continue run `name`, with more of them.
  [[nodiscard]] std::vector<std::string> arguments(const std::string& name,
                                                   const std::vector<std::string>& more = {}) const;
  [[nodiscard]] ProcessResult train(const std::string& name,
                                    const std::vector<std::string>& more = {},
                                    const std::vector<std::string>& environment = {}) const;
  // The same, and requires success.
  void train_well(const std::string& name, const std::vector<std::string>& more = {}) const;

  // Steps with a checkpoint directory, ascending.
  [[nodiscard]] std::vector<int64_t> steps(const std::string& name) const;
  // A fingerprint of every file of a checkpoint, less how long it took.
  [[nodiscard]] std::string state(const std::string& name, int64_t step) const;
  // Steps and losses of stats.jsonl.
  [[nodiscard]] std::string history(const std::string& name) const;

 private:
  ScratchFolder folder_;
};

// The path of bigbigan-train.
std::string trainer();
// The last step that a trainer reported as saved, or 0.
int64_t last_saved(const ProcessResult& result);
// The step that a trainer continued from, or 0.
int64_t resumed_from(const ProcessResult& result);
// An .npy file of `n` gray images of 32x32; other seeds, other pixels.
void write_tiny_images(const std::filesystem::path& path, int64_t n, uint32_t seed = 1);

}  // namespace bigbigan
