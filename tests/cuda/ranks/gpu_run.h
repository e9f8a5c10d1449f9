// Training runs of thread-ranks on emulated GPUs, with all that a run has: agreement on the host,
// the watchdog, recorded steps, reports, comparisons of weights, checkpoints.
#pragma once

#include "engine/io/jsonl.h"
#include "tests/cuda/ranks/gpu_ranks.h"
#include "tests/cuda/tiny_run.h"
#include "tests/engine_world/thread_world.h"
#include "train/device_of_rank.h"
#include "train/trainer.h"

namespace bigbigan {

// `batch` images of all ranks, one update of D in a step, a line of the log for each.
inline Config gpu_run(const ScratchFolder& folder, int64_t batch, int64_t steps) {
  Config c = tiny_run(folder);
  c.train.batch = batch;
  c.train.steps = steps;
  c.train.d_steps = 1;
  c.train.ema_start = 1;
  c.log.every_steps = 1;
  c.sample.every_steps = 0;
  return c;
}

// This rank's part of a run, started or continued.
inline ExitCode train_gpu_rank(Communicator& comm, const Vfs::Path& run, const Config& config) {
  PosixVfs vfs;
  ThreadWorld world(comm);
  Device device(device_of_rank(world, "cuda"), 1);
  const Ranks ranks(world, vfs, run, config.ranks, [&](Communicator& bootstrap) {
    return make_nccl_communicator(bootstrap, device.exec(), 60);
  });
  Trainer trainer(vfs, run, config, device, ranks);
  return trainer.run();
}

// All of it.
inline void train_gpu_ranks(int ranks, const Vfs::Path& run, const Config& config) {
  std::filesystem::create_directories(run);
  run_thread_ranks(ranks, [&](Communicator& comm) {
    check(train_gpu_rank(comm, run, config) == ExitCode::kOk, "the run did not end");
  });
}

// loss_d and loss_eg, step by step.
inline std::vector<double> losses(const Vfs::Path& run) {
  PosixVfs vfs;
  std::vector<double> all;
  for (const FlatJson& line : read_jsonl(vfs, run / "stats.jsonl")) {
    all.push_back(json_get<double>(line, "loss_d", "stats"));
    all.push_back(json_get<double>(line, "loss_eg", "stats"));
  }
  return all;
}

}  // namespace bigbigan
