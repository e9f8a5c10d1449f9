// Whole runs on several GPUs are those on one, up to rounding.
#include <catch2/catch.hpp>
#include <cmath>
#include <tuple>

#include "tests/cuda/ranks/gpu_run.h"

using namespace bigbigan;

// A run whose optimiser is sharded also draws pictures: both gather arrays between GPUs.
TEST_CASE("GPU ranks: a run of two is the run of one, up to rounding") {
  const ScratchFolder folder;
  write_images(folder);
  for (const auto& [name, n, shard] :
       {std::tuple("1", 1, false), std::tuple("2", 2, false), std::tuple("sharded", 2, true)}) {
    Config config = gpu_run(folder, 4, 2);
    config.sample.every_steps = shard ? 2 : 0;
    config.ranks.shard_optimizer = shard;
    config.ranks.compare_every_steps = 2;
    train_gpu_ranks(n, folder / name, config);
    CHECK(std::filesystem::exists(folder / name / "step-00000002/MANIFEST"));
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

// The data set's 20 images are no multiple of the batch: the second step ends one epoch and begins
// another.
TEST_CASE("GPU ranks: a run goes on on more GPUs, and on one", "[.elastic]") {
  const ScratchFolder folder;
  write_images(folder);
  const std::vector<int> worlds = {2, 3, 1};
  Config config = gpu_run(folder, 6, 0);
  for (const int ranks : worlds) {
    ++config.train.steps;
    config.ranks.shard_optimizer = ranks == 3;
    train_gpu_ranks(ranks, folder / "elastic", config);
  }
  train_gpu_ranks(1, folder / "one", config);
  const std::vector<double> found = losses(folder / "elastic"), expected = losses(folder / "one");
  REQUIRE(found.size() == 6);
  REQUIRE(expected.size() == 6);
  for (size_t i = 0; i < 6; ++i) CHECK(std::abs(found[i] - expected[i]) < (i < 2 ? 1e-5 : 2e-3));
}
