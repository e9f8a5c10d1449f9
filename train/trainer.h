// A training run: data, steps, logs, pictures, checkpoints, and stopping.
#pragma once

#include <optional>

#include "engine/core/device.h"
#include "engine/data/batches.h"
#include "engine/util/fault.h"
#include "train/captured_step.h"
#include "train/ranks.h"
#include "train/run_log.h"
#include "train/state.h"

namespace bigbigan {

// All images of data.path for E. Throws Error: kNoInput or kBadData as open_dataset() does, kConfig
// where they have other channels than the model, or are too few for a batch.
std::shared_ptr<const Dataset> open_training_images(Vfs& vfs, const Config& config);

class Trainer {
 public:
  // Opens the data, builds the model, and continues from the newest checkpoint of `run` if there is
  // one. `run` exists and is locked by the caller. Throws Error: kNoInput or kBadData for the data,
  // kConfig for a checkpoint of another configuration or other data, and for ranks that differ;
  // kNoCheckpoint. All ranks make one, and call what follows, together.
  Trainer(Vfs& vfs, Vfs::Path run, const Config& config, Device& device, const Ranks& ranks);

  // Takes weights and averages from another run, checkpoint or file in place of initial ones; only
  // before step 1.
  void start_from(const Vfs::Path& weights);

  // Trains until train.steps, train.minutes or a stop signal. Returns kOk, or kStopped after a
  // signal; either way the last step is in a checkpoint. Throws Error{kNumerical} after
  // train.max_bad_steps skipped steps.
  ExitCode run();

  [[nodiscard]] const TrainState& state() const { return state_; }
  // The step of the newest checkpoint, or -1.
  [[nodiscard]] int64_t saved_step() const { return saved_step_; }
  [[nodiscard]] BigBiGAN& model() { return model_; }

 private:
  void resume();
  // Throws Error{kConfig} unless all ranks are about to train the same.
  void require_equal_ranks(const std::optional<Vfs::Path>& checkpoint) const;
  // Throws Error{kWriteFailed} where the disk has no room for the checkpoints to come.
  void check_room();
  // A step whose launches are made, and whose report is not read yet.
  struct LaunchedStep {
    int64_t number = 0, consumed_samples = 0;
  };

  void train_step();
  void launch_step(int64_t number);
  // Reads the report of step `unread_`: statistics, counts, the limit of skipped steps. Throws
  // Error{kNumerical} at the limit.
  void read_report();
  // Nothing is left to read.
  void settle() {
    if (unread_) read_report();
  }
  // Whether something after this step needs its report.
  [[nodiscard]] bool is_report_due() const;
  [[nodiscard]] bool due(int64_t every) const { return every > 0 && state_.step % every == 0; }
  void add_time();
  ImageBatch next_micro_batch();
  void draw_grids();
  void draw_grids_here();
  void draw_reals();
  void save();
  void tell_status();
  [[nodiscard]] bool is_time_over() const;
  [[nodiscard]] bool finished() const;

  Vfs& vfs_;
  Vfs::Path run_;
  Config config_;
  Device& device_;
  const Ranks& ranks_;
  const Ranks::Share share_;  // of a micro-batch
  const Fault fault_;
  Context ctx_;  // of this rank alone
  BigBiGAN model_;
  TrainState state_;
  std::shared_ptr<const Dataset> train_data_, val_data_;
  std::unique_ptr<BatchLoader> loader_;
  std::unique_ptr<Allocator> step_pool_;  // of the captured step
  std::unique_ptr<TrainingStep> step_;
  std::unique_ptr<CapturedStep> captured_;
  std::unique_ptr<RunLog> log_;  // rank 0
  std::optional<LaunchedStep> unread_;
  double timed_until_ = 0;                           // monotonic seconds
  double step_seconds_ = 0, data_wait_seconds_ = 0;  // since the last line of the log
  double last_step_seconds_ = 0;
  int64_t saved_step_ = -1;
};

}  // namespace bigbigan
