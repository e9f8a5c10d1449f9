// A run that goes on computes with the kernels that it began with. Note [Recorded plans].
#include <catch2/catch.hpp>

#include "tests/cuda/programs/device_run.h"

using namespace bigbigan;

namespace {

void require_well(const ProcessResult& result) {
  INFO(result.err);
  REQUIRE(result.code == 0);
}

}  // namespace

TEST_CASE("plans: resumed, a run takes those of its checkpoint, whatever heuristics say now") {
  const DeviceRun run;
  require_well(run.train("straight"));
  require_well(run.train("resumed", {}, {"train.steps=2"}));
  const ProcessResult rest = run.train("resumed", {"EMU_ENGINE=2"});
  require_well(rest);
  CHECK_THAT(rest.err, !Catch::Contains("last bits may differ"));
  CHECK(run.files().state("resumed", 6) == run.files().state("straight", 6));
  // The other plans do show.
  require_well(run.train("other", {"EMU_ENGINE=2"}));
  CHECK(run.files().state("other", 6) != run.files().state("straight", 6));
}

TEST_CASE("plans: with another library they are chosen anew, and a line says so") {
  const DeviceRun run;
  require_well(run.train("run", {}, {"train.steps=2"}));
  const ProcessResult rest = run.train("run", {"EMU_ENGINE=2", "EMU_LIBRARY=2"});
  require_well(rest);
  CHECK_THAT(rest.err, Catch::Contains("cuDNN 1, emulated") &&
                           Catch::Contains("cuDNN 2, emulated") &&
                           Catch::Contains("last bits may differ"));
  const std::string state = read_raw(run.files() / "run/step-00000006/state.json");
  CHECK_THAT(state, Catch::Contains("= engine 2") && !Catch::Contains("= engine 1"));
}

TEST_CASE("plans: the CPU hands them on") {
  const DeviceRun run;
  require_well(run.train("run", {}, {"train.steps=2"}));
  require_well(run.train("run", {}, {"train.steps=4"}, "cpu"));
  require_well(run.train("run", {"EMU_ENGINE=2"}));
  const std::string state = read_raw(run.files() / "run/step-00000006/state.json");
  CHECK_THAT(state, Catch::Contains("= engine 1") && !Catch::Contains("= engine 2"));
}
