// A failure of every operation of a run in turn, once and for good.
#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/common/error.h"
#include "tests/reliability/fault_vfs.h"
#include "tests/reliability/sim_vfs.h"
#include "tests/reliability/small_run.h"

using namespace bigbigan;

namespace {

const Vfs::Path kRun = "/runs/first";

// Lets one operation fail; false when the run has fewer.
bool fault_at(const FaultPlan& plan) {
  SimVfs disk;
  FaultVfs faulty(disk, plan);
  int64_t acknowledged = 0;
  try {
    small_run(faulty, kRun, acknowledged);
    if (faulty.operations() < plan.at) return false;
    // A directory that is there although its creation reported a failure will do.
    INFO(faulty.failed().front());
    REQUIRE(plan.is_done_anyway);
  } catch (const Error& e) {
    INFO(e.what());
    REQUIRE(e.code() == ExitCode::kWriteFailed);
    REQUIRE_THAT(e.what(), Catch::Contains(plan.reason));
    const bool is_named =
        std::any_of(faulty.failed().begin(), faulty.failed().end(), [&](const std::string& path) {
          return std::string(e.what()).find(path) != std::string::npos;
        });
    REQUIRE(is_named);
    if (!plan.persists && !plan.is_done_anyway && disk.exists(kRun)) {
      for (const std::string& name : disk.list(kRun)) {
        const bool is_left =
            name.starts_with(".tmp-") || name.find("toml.tmp-") != std::string::npos;
        REQUIRE_FALSE(is_left);
      }
    }
  }
  const std::string problem = recover_and_finish(disk, kRun, acknowledged);
  REQUIRE(problem == "");
  return true;
}

}  // namespace

TEST_CASE("disk faults: the failure of any operation is reported, and nothing saved is lost") {
  for (const char* reason : {"No space left on device", "Input/output error"}) {
    for (const bool persists : {false, true}) {
      for (const bool is_done_anyway : {false, true}) {
        int64_t at = 1;
        while (fault_at({at, persists, is_done_anyway, reason})) ++at;
        INFO(at);
        REQUIRE(at > 60);
      }
    }
  }
}
