// Which blocks are computed with their exact rewrite, by measurement.
//
// Note [Measured rewrites]: an exact rewrite saves arithmetic, but a GPU may have slower kernels
// for it. With train.measure_rewrites each block is timed in both forms before step 1, on the
// shapes of the run, and computed in the faster one. The choice goes into checkpoints, and a run
// that is continued keeps it on any device. Two runs of one configuration may choose differently,
// and then differ by rounding.
#pragma once

#include <functional>
#include <string>

#include "engine/core/device.h"
#include "models/bigbigan/bigbigan.h"
#include "train/ranks.h"

namespace bigbigan {

// How long a block takes in the form chosen now.
using BlockSeconds = std::function<double(const RewritableBlock& block)>;

// On `n` images, recorded as a step is: the median of some replays. `ctx`: of the step.
BlockSeconds seconds_on(Accelerator& device, const Context& ctx, int64_t n);

// Times every block in both forms; the model computes in the faster ones from now on. Returns the
// names of those that are faster without their rewrite, separated by spaces.
std::string choose_rewrites(BigBiGAN& model, const BlockSeconds& seconds);

// choose_rewrites() by rank 0 for all, where the configuration asks for it and there is a GPU; else
// changes nothing and returns an empty list. Called by all ranks.
std::string measure_rewrites(const Config& config, Device& device, const Ranks& ranks,
                             const Context& ctx, BigBiGAN& model);

// The model computes the blocks of that list without their rewrite. Throws Error{kBadData} for a
// name of none.
void use_plain_blocks(BigBiGAN& model, const std::string& names);

}  // namespace bigbigan
