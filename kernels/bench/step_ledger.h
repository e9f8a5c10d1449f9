// What a training step must move and compute, and how long that takes a device of given rates:
// known from the shapes alone, without running anything.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/bench/kernel_profile.h"
#include "train/config.h"

namespace bigbigan {

// What a device does at best; by default about an H100.
struct DeviceRates {
  double copy_tb_per_s = 3.0;       // bytes read and bytes written
  double matmul_tflop_per_s = 700;  // in the step's precision
  double launch_us = 3;             // what the smallest launcher takes within a recorded step
};

struct PlannedLaunch {
  std::string launcher;
  bool is_of_d = false;  // of an update of D, else of that of E and G
  double bytes = 0, flops = 0;

  [[nodiscard]] double seconds(const DeviceRates& rates) const;
};

// All launches of one step of one rank (d_steps updates of D, one of E and G, averages), in their
// order. Beside those of the launchers, the passes behind convolutions that CUDA's launchers make
// (kernels/conv/finish.h), where cuDNN has no engine that does without on an H100.
std::vector<PlannedLaunch> plan_step(const Config& config);

// Sums over the launches of one launcher, or of a family.
struct LedgerRow {
  int64_t launches = 0;
  double gigabytes = 0, teraflops = 0;
  double d_seconds = 0, eg_seconds = 0;

  [[nodiscard]] double seconds() const { return d_seconds + eg_seconds; }
};
using Ledger = std::map<std::string, LedgerRow>;
Ledger ledger_by_launcher(const std::vector<PlannedLaunch>& launches, const DeviceRates& rates);
// Convolutions, matrix products, attention, weights, and all between them.
Ledger ledger_by_family(const std::vector<PlannedLaunch>& launches, const DeviceRates& rates);

// Both tables; beside the launchers their time in `measured`, which may be null.
std::string describe(const Config& config, const std::vector<PlannedLaunch>& launches,
                     const DeviceRates& rates, const KernelProfile* measured);

}  // namespace bigbigan
