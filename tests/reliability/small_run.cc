#include "tests/reliability/small_run.h"

#include <fmt/format.h>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

const std::vector<std::string> kFiles = {"model", "state"};

// The step to continue from; checks that the checkpoint holds what was saved.
int64_t load(Vfs& vfs, const Vfs::Path& run) {
  std::vector<std::string> complaints;
  const auto newest = newest_checkpoint(vfs, run, complaints);
  if (!newest) return 0;
  for (const int64_t step : checkpoint_steps(vfs, run)) {
    if (checkpoint_path(run, step) != *newest) continue;
    for (const std::string& name : kFiles) {
      const bool is_same =
          read_text(vfs, *newest / name, 1 << 20) == small_run_contents(name, step);
      if (!is_same) fail(ExitCode::kInternal, "step {}: {} is not what was saved", step, name);
    }
    return step;
  }
  fail(ExitCode::kInternal, "{} is not the checkpoint of a step", newest->string());
}

}  // namespace

std::string small_run_contents(const std::string& name, int64_t step) {
  return fmt::format("{} of step {}: {}", name, step, std::string(20 + 10 * step, 'x'));
}

void small_run(Vfs& vfs, const Vfs::Path& run, int64_t& acknowledged) {
  make_directories(vfs, run);
  remove_leftovers(vfs, run);
  int64_t step = load(vfs, run);
  JsonlWriter log(vfs, run / "stats.jsonl", step);
  write_file_atomic(vfs, run / "config.toml", fmt::format("steps = {}", step));
  while (step < kSmallRunSteps) {
    ++step;
    log.write({{"step", step}});
    std::vector<CheckpointFile> files;
    for (const std::string& name : kFiles) {
      files.push_back({name, [text = small_run_contents(name, step)](WritableFile& file) {
                         file.write(std::as_bytes(std::span(text)));
                       }});
    }
    log.sync();
    save_checkpoint(vfs, run, step, files);
    acknowledged = step;
    prune_checkpoints(vfs, run, step, kSmallRunKeep, 0);
  }
}

std::string recover_and_finish(Vfs& vfs, const Vfs::Path& run, int64_t acknowledged) {
  try {
    if (acknowledged > 0) {
      const int64_t found = load(vfs, run);
      if (found < acknowledged) {
        return fmt::format("step {} was acknowledged, {} is found", acknowledged, found);
      }
    }
    int64_t last = 0;
    small_run(vfs, run, last);
    if (load(vfs, run) != kSmallRunSteps) return "the last step is missing";
    std::vector<FlatJson> lines;
    for (int64_t step = 1; step <= kSmallRunSteps; ++step) lines.push_back({{"step", step}});
    if (read_jsonl(vfs, run / "stats.jsonl") != lines) return "the log is not one line per step";
    for (const std::string& name : vfs.list(run)) {
      const bool is_known =
          name.starts_with("step-") || name == "config.toml" || name == "stats.jsonl";
      if (!is_known) return name + " is left";
    }
    return {};
  } catch (const Error& e) {
    return e.what();
  }
}

}  // namespace bigbigan
