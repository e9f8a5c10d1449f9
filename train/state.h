// What a checkpoint holds beside weights, and the checkpoint of a training run as files.
#pragma once

#include "engine/core/device.h"
#include "engine/io/checkpoint.h"
#include "models/bigbigan/bigbigan.h"
#include "train/config.h"

namespace bigbigan {

// Everything else that a run continues from. There is no random state: noise and data order are
// functions of the seed and of `consumed_samples`.
struct TrainState {
  int64_t step = 0;
  int64_t consumed_samples = 0;  // images drawn so far, over all ranks
  int64_t d_updates = 0, eg_updates = 0;
  int64_t skipped_steps = 0, bad_in_row = 0;
  double elapsed_seconds = 0;  // of training
  int64_t ranks = 1;           // of the last step
  std::string data_fingerprint;
  std::string config;        // TOML
  std::string plain_blocks;  // Note [Measured rewrites]
  std::string plans;         // Accelerator::plans(); empty where no accelerator has trained
};

// Saves the model, its averages, the optimiser and `state` as checkpoint `state.step` of `run`.
// Throws Error{kNumerical}, and writes nothing, when a value is not finite; Error{kWriteFailed}
// when writing fails. Called by all ranks, of which one is the writer.
void save_training(Vfs& vfs, const Vfs::Path& run, BigBiGAN& model, const TrainState& state,
                   bool is_writer);

// About what a checkpoint of the model takes on disk.
int64_t checkpoint_bytes(BigBiGAN& model);

// The state in a checkpoint. Throws Error{kBadData} for what save_training cannot have written.
TrainState load_state(Vfs& vfs, const Vfs::Path& checkpoint);

// Fills a model allocated for training from a verified checkpoint.
void load_training(Vfs& vfs, const Vfs::Path& checkpoint, BigBiGAN& model);

// The device, which may be null, computes with the state's plans from now on (Note [Recorded
// plans]). What to tell the user where they are of another device or other libraries, or empty.
std::string take_over_plans(Accelerator* device, const TrainState& state);

}  // namespace bigbigan
