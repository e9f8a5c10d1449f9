// Devices that cannot be used: one line that says what is wrong and what to do, and exit code 71.
#include <catch2/catch.hpp>

#include "tests/cuda/programs/device_run.h"

using namespace bigbigan;

TEST_CASE("bad device: one that this program holds no kernels for") {
  const DeviceRun run;
  const ProcessResult result = run.train("run", {"EMU_CAPABILITY=75"});
  require_one_line(result, "compute capability 7.5");
  require_one_line(result, "-DBIGBIGAN_CUDA_ARCH=75");
  CHECK(!std::filesystem::exists(run.files() / "run"));
}

TEST_CASE("bad device: a driver older than the runtime") {
  const DeviceRun run;
  const ProcessResult result = run.train("run", {"EMU_DRIVER=12040"});
  require_one_line(result, "CUDA 12.4, this program needs CUDA 13");
  require_one_line(result, "install a newer driver");
}

TEST_CASE("bad device: none, and an index that is not there") {
  const DeviceRun run;
  require_one_line(run.train("run", {"EMU_DEVICES=0"}), "no CUDA device");
  require_one_line(run.train("run", {"EMU_DEVICES=2"}, {}, "cuda:2"),
                   "CUDA device 2 asked for, this machine has 2");
}

TEST_CASE("bad device: auto falls back to the CPU and says why in one line") {
  const DeviceRun run;
  for (const char* why : {"EMU_CAPABILITY=75", "EMU_DRIVER=12040", "EMU_DEVICES=0"}) {
    const ProcessResult result = run.train(why, {why}, {"train.steps=1"}, "auto");
    INFO(result.err);
    CHECK(result.code == 0);
    CHECK_THAT(result.err, Catch::Contains("running on the CPU: "));
  }
}
