// What a run says of itself while it trains: stats.jsonl, TensorBoard events, pictures, and the
// line on the terminal. Rank 0 alone has one.
#pragma once

#include "engine/io/jsonl.h"
#include "engine/io/png.h"
#include "engine/io/tensorboard.h"
#include "engine/util/program.h"
#include "train/config.h"
#include "train/step.h"

namespace bigbigan {

class RunLog {
 public:
  // Continues the log of `run` after step `step`: later lines, of steps that were lost, go.
  RunLog(Vfs& vfs, Vfs::Path run, const Config& config, int64_t step);

  struct Line {
    int64_t step = 0, images = 0, skipped_steps = 0, memory_bytes = 0;
    double elapsed_seconds = 0;
    // Since the line before: of all steps, and of those the wait for images.
    double step_seconds = 0, data_wait_seconds = 0;
  };
  void write(const Line& line, const StepReport& report);
  // RUN/<name>-<step>.png.
  void write_picture(const std::string& name, int64_t step, const Image& picture);
  // All lines so far are on the disk.
  void sync() { stats_.sync(); }
  // Leaves what is shown on the terminal.
  void finish_line() { progress_.finish(); }

 private:
  Vfs& vfs_;
  const Vfs::Path run_;
  const Config& config_;
  JsonlWriter stats_;
  TensorboardWriter board_;
  ProgressLine progress_;
  int64_t last_step_;
};

}  // namespace bigbigan
