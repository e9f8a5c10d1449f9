// Times whole training steps beside the convolutions and matrix products in them run alone.
#pragma once

#include <string>
#include <vector>

#include "kernels/bench/kernel_profile.h"
#include "train/config.h"

namespace bigbigan {

// One repetition: a step, and right after it its library calls alone, so that both meet the same
// neighbours.
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
// again through the same launchers, with operands of their own, in the order of the step.
std::vector<StepRound> time_steps(const Config& config, const CpuExec& exec, int repeats);

// The report: how long both take, their ratio, and the launchers by the median of their times.
std::string describe(const Config& config, const std::vector<StepRound>& rounds, int threads);

}  // namespace bigbigan
