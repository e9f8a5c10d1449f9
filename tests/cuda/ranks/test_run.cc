// A training run of two ranks on GPUs, with all that a run has: agreement on the host, the
// watchdog, recorded steps, reports, comparisons of weights, a checkpoint.
#include <catch2/catch.hpp>
#include <cmath>
#include <tuple>

#include "engine/io/jsonl.h"
#include "tests/cuda/ranks/gpu_ranks.h"
#include "tests/cuda/tiny_run.h"
#include "tests/engine_world/thread_world.h"
#include "train/device_of_rank.h"
#include "train/trainer.h"

using namespace bigbigan;

namespace {

// A run whose optimiser is sharded also draws pictures: both gather arrays between GPUs.
Config tiny_config(const ScratchFolder& folder, bool shard) {
  Config c = tiny_run(folder);
  c.train.batch = 4;
  c.train.steps = 2;
  c.train.d_steps = 1;
  c.train.ema_start = 1;
  c.log.every_steps = 1;
  c.sample.every_steps = shard ? 2 : 0;
  c.ranks.shard_optimizer = shard;
  c.ranks.compare_every_steps = 2;
  return c;
}

ExitCode train(World& world, const ScratchFolder& folder, const Vfs::Path& run, bool shard) {
  PosixVfs vfs;
  const Config config = tiny_config(folder, shard);
  Device device(device_of_rank(world, "cuda"), 1);
  const Ranks ranks(world, vfs, run, config.ranks, [&](Communicator& bootstrap) {
    return make_nccl_communicator(bootstrap, device.exec(), 60);
  });
  Trainer trainer(vfs, run, config, device, ranks);
  return trainer.run();
}

// loss_d and loss_eg, step by step.
std::vector<double> losses(const Vfs::Path& run) {
  PosixVfs vfs;
  std::vector<double> all;
  for (const FlatJson& line : read_jsonl(vfs, run / "stats.jsonl")) {
    all.push_back(json_get<double>(line, "loss_d", "stats"));
    all.push_back(json_get<double>(line, "loss_eg", "stats"));
  }
  return all;
}

}  // namespace

TEST_CASE("GPU ranks: a run of two is the run of one, up to rounding") {
  const ScratchFolder folder;
  write_images(folder);
  for (const auto& [name, n, shard] :
       {std::tuple("1", 1, false), std::tuple("2", 2, false), std::tuple("sharded", 2, true)}) {
    const Vfs::Path run = folder / name;
    std::filesystem::create_directories(run);
    run_thread_ranks(n, [&, shard = shard](Communicator& comm) {
      ThreadWorld world(comm);
      check(train(world, folder, run, shard) == ExitCode::kOk, "the run did not end");
    });
    CHECK(std::filesystem::exists(run / "step-00000002/MANIFEST"));
  }
  const std::vector<double> one = losses(folder / "1"), two = losses(folder / "2"),
                            sharded = losses(folder / "sharded");
  REQUIRE(one.size() == 4);
  REQUIRE(two.size() == 4);
  REQUIRE(sharded.size() == 4);
  CHECK(std::abs(two[0] - one[0]) < 1e-5);
  CHECK(std::abs(two[1] - one[1]) < 1e-5);
  for (size_t i = 0; i < sharded.size(); ++i) CHECK(std::abs(sharded[i] - two[i]) < 1e-4);
  CHECK(std::filesystem::exists(folder / "sharded/fakes-00000002.png"));
}
