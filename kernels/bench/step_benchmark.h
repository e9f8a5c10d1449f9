// Times whole training steps: on the CPU beside the convolutions and matrix products in them run
// alone, on a GPU launched one by one and as a recording.
#pragma once

#include <string>
#include <vector>

#include "engine/comm/communicator.h"
#include "engine/core/device.h"
#include "kernels/bench/kernel_profile.h"
#include "train/config.h"

namespace bigbigan {

// One repetition on the CPU: a step, and right after it its library calls alone, so that both meet
// the same neighbours.
struct StepRound {
  struct Part {
    double wall_seconds = 0;
    double cpu_seconds = 0;  // of all threads: what a busy neighbour changes least
    KernelProfile profile;
  };
  Part step, alone;
};

// `repeats` rounds of training steps (d_steps updates of D, one of G and E, averages) with
// synthetic images, after two to warm up. The convolutions and matrix products of the first are run
// again through the same launchers, with operands of their own, in the order of the step. `comm`,
// which may be null: of the ranks that share the batch, all of which call this.
std::vector<StepRound> time_steps(const Config& config, Device& device, int repeats,
                                  Communicator* comm = nullptr);

// The report: how long both take, their ratio, and the launchers by the median of their times.
std::string describe(const Config& config, const std::vector<StepRound>& rounds, int threads);

// Medians of a step.
struct StepTimes {
  double captured_seconds = 0;  // replayed as a recording; 0 where there is none
  double launched_seconds = 0;  // launched one by one
  KernelProfile profile;        // of a launched step: a mark around every launcher slows it down

  // Of the step as it is trained with.
  [[nodiscard]] double seconds() const {
    return captured_seconds > 0 ? captured_seconds : launched_seconds;
  }
};

StepTimes times_of(const std::vector<StepRound>& rounds);
// On a GPU, between CUDA events, after steps to warm up.
StepTimes time_recorded_steps(const Config& config, Device& device, int repeats,
                              Communicator* comm = nullptr);

// The report of a GPU: both times, the share of a launched step in which the GPU waits for
// launches, and the launchers.
std::string describe(const Config& config, const StepTimes& times, const std::string& device);

// One object, as docs/programs.md describes it.
std::string json(const std::string& preset, const Config& config, const StepTimes& times,
                 const std::string& device, int ranks = 1);

}  // namespace bigbigan
