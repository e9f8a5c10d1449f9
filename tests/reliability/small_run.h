// A run without a model: some state, checkpoints of it as the trainer saves them, and a log.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/io/checkpoint.h"
#include "engine/io/jsonl.h"

namespace bigbigan {

inline constexpr int64_t kSmallRunSteps = 5;
inline constexpr int64_t kSmallRunKeep = 2;

// The contents of file `name` in the checkpoint of `step`.
std::string small_run_contents(const std::string& name, int64_t step);

// Starts or continues the run in `run` up to step kSmallRunSteps with a checkpoint at each.
// `acknowledged` is the last step that was reported as saved.
void small_run(Vfs& vfs, const Vfs::Path& run, int64_t& acknowledged);

// Empty when `run` can be continued from a step >= `acknowledged` and ends as an undisturbed one;
// otherwise what is wrong.
std::string recover_and_finish(Vfs& vfs, const Vfs::Path& run, int64_t acknowledged);

}  // namespace bigbigan
