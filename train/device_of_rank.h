// Which device each rank of a run computes on: one GPU per rank, or the CPU.
#pragma once

#include <string>
#include <vector>

#include "engine/world/world.h"

namespace bigbigan {

// What `option` (Device) means for this rank, as another such name. Ranks that see the same GPUs
// share them out in the order of their numbers; where the launcher shows each rank one of its own,
// that is the rank's. Called by all. Throws Error{kConfig} where ranks of one host are told to take
// the same GPU, or are more than its GPUs.
std::string device_of_rank(World& world, const std::string& option);

}  // namespace bigbigan
