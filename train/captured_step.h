// A training step whose launches are recorded once and then replayed as one: on a GPU the host
// would take longer to launch a small step than the device to compute it.
//
// Note [Captured step]: a recording holds addresses and numbers. So the step's tensors come from a
// pool of its own, in which a step runs once by itself: from then on the same requests get the same
// blocks, and no one else uses them between two replays. Images and sample numbers are copied into
// tensors that stay; losses, norms and update counters stay on the device anyway. What differs
// between steps on the host is the decay of the averages: one recording for each.
#pragma once

#include <array>
#include <memory>

#include "engine/core/device.h"
#include "train/step.h"

namespace bigbigan {

class CapturedStep {
 public:
  // `step` was made with a context whose allocator is a private pool of `device`.
  CapturedStep(TrainingStep& step, Accelerator& device) : step_(step), device_(device) {}

  // The same as TrainingStep::run. Throws Error{kInternal} for batches of another shape than the
  // first ones.
  void run(std::span<const ImageBatch> batches, int64_t number);

 private:
  TrainingStep& step_;
  Accelerator& device_;
  std::vector<ImageBatch> inputs_;
  std::array<std::unique_ptr<Recording>, 2> recordings_;  // without averages, and with
  bool has_run_ = false;
};

}  // namespace bigbigan
