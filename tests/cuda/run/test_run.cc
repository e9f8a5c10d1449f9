// Training runs on CUDA: resumed runs, runs that change the device, devices that are not there.
#include <catch2/catch.hpp>

#include "engine/util/text.h"
#include "tests/cuda/tiny_run.h"
#include "train/measured_rewrites.h"
#include "train/trainer.h"

using namespace bigbigan;

namespace {

Config tiny_config(const ScratchFolder& folder, int64_t steps) {
  Config c = tiny_run(folder);
  c.train.batch = 2;
  c.train.steps = steps;
  c.train.ema_start = 2;
  c.sample.every_steps = 2;
  return c;
}

TrainState train(const ScratchFolder& folder, const char* run, const char* device, int64_t steps,
                 bool measured = false) {
  PosixVfs vfs;
  std::filesystem::create_directories(folder / run);
  Device chosen(device, 1);
  const Ranks alone;
  Config config = tiny_config(folder, steps);
  config.train.measure_rewrites = measured;
  Trainer trainer(vfs, folder / run, config, chosen, alone);
  REQUIRE(trainer.run() == ExitCode::kOk);
  return trainer.state();
}

std::string weights(const ScratchFolder& folder, const std::string& checkpoint) {
  std::string all;
  for (const char* name : {"model", "ema", "optim"}) {
    all += read_raw(folder / (checkpoint + "/" + name + ".safetensors"));
  }
  return all;
}

}  // namespace

TEST_CASE("CUDA run: resumed, it ends with the same bits") {
  const ScratchFolder folder;
  write_images(folder);
  train(folder, "straight", "cuda", 4);
  train(folder, "resumed", "cuda", 2);
  train(folder, "resumed", "cuda", 4);
  REQUIRE(weights(folder, "straight/step-00000004") == weights(folder, "resumed/step-00000004"));
  REQUIRE(std::filesystem::exists(folder / "straight/fakes-00000004.png"));
}

TEST_CASE("CUDA run: a checkpoint goes on on the other device") {
  const ScratchFolder folder;
  write_images(folder);
  train(folder, "run", "cpu", 1);
  train(folder, "run", "cuda:0", 2);
  train(folder, "run", "cpu", 3);
  REQUIRE(std::filesystem::exists(folder / "run/step-00000003"));
}

TEST_CASE("CUDA run: rewrites are measured before the first step, and not again") {
  const ScratchFolder folder;
  write_images(folder);
  const std::string chosen = train(folder, "run", "cuda", 1, true).plain_blocks;
  const std::filesystem::path first = folder / "run";
  std::filesystem::copy(first, folder / "copy", std::filesystem::copy_options::recursive);
  CHECK(train(folder, "run", "cuda", 2, true).plain_blocks == chosen);
  CHECK(train(folder, "copy", "cuda", 2, true).plain_blocks == chosen);
  CHECK(weights(folder, "run/step-00000002") == weights(folder, "copy/step-00000002"));
}

TEST_CASE("CUDA run: how long a block takes") {
  Device device("cuda", 1);
  BigBiGAN model(tiny_config(ScratchFolder(), 1).model);
  const Context ctx{.exec = device.exec(), .allocator = &device.allocator()};
  model.allocate(ctx, true);
  const BlockSeconds seconds = seconds_on(*device.accelerator(), ctx, 2);
  for (const RewritableBlock& block : model.rewritable_blocks()) {
    INFO(block.name);
    CHECK(seconds(block) > 0);
  }
}

TEST_CASE("CUDA run: a device that is not there, and names of none") {
  require_error([] { Device("cuda:99", 1); }, ExitCode::kSystem, {"99"});
  for (const char* name : {"gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:1x"}) {
    require_error([&] { Device(name, 1); }, ExitCode::kUsage, {name, "cuda[:i]"});
  }
}
