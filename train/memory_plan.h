// What a training run takes of its device's memory, known without computing anything.
#pragma once

#include <string>

#include "engine/core/device.h"
#include "train/config.h"

namespace bigbigan {

// The ledger that one of `ranks` ranks of a run with this configuration would have after its first
// steps and pictures: every request for memory that Trainer makes, none of the launches
// (Context::plan_only). On a GPU the libraries are asked for their workspaces. Throws
// Error{kConfig} where the batch does not divide.
MemoryLedger plan_memory(const Config& config, Device& device, int ranks);

// The least train.micro_batches above the configured one whose plan fits into `bytes`; 0 where none
// does.
int64_t fewest_micro_batches(const Config& config, Device& device, int ranks, int64_t bytes);

// The largest batch below train.batch whose plan fits into `bytes`; 0 where none does.
int64_t largest_batch(const Config& config, Device& device, int ranks, int64_t bytes);

// The plan by tag, as lines of a comment, beside what the device has free, and what to do where
// that is too little.
std::string memory_plan_text(const Config& config, Device& device, int ranks);

// What to do after OutOfMemory, when the device had `free_bytes` free before the run.
std::string out_of_memory_advice(const Config& config, Device& device, int ranks,
                                 int64_t free_bytes);

}  // namespace bigbigan
