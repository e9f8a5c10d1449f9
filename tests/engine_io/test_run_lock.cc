#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "engine/io/run_lock.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;

TEST_CASE("run lock: a second one is refused and names the first") {
  ScratchFolder run;
  const RunLock lock(run.path());
  require_error([&] { const RunLock second(run.path()); }, ExitCode::kCannotCreate,
                {run.path().string(), "pid " + std::to_string(::getpid()), "--run-dir"});
  REQUIRE_THAT(read_raw(run / "run.lock"), Catch::StartsWith("pid " + std::to_string(::getpid())));
}

TEST_CASE("run lock: free again after its owner, killed or not") {
  ScratchFolder run;
  { const RunLock lock(run.path()); }
  const pid_t child = ::fork();
  if (child == 0) {
    const RunLock lock(run.path());
    ::raise(SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE_THAT(read_raw(run / "run.lock"), Catch::StartsWith("pid " + std::to_string(child)));
  const RunLock lock(run.path());
  REQUIRE_THAT(read_raw(run / "run.lock"), Catch::StartsWith("pid " + std::to_string(::getpid())));
}

TEST_CASE("run lock: not through a link, not without a directory") {
  ScratchFolder run;
  require_error([&] { const RunLock lock(run / "none"); }, ExitCode::kCannotCreate,
                {"none/run.lock", "No such file"});
  std::filesystem::create_symlink("elsewhere", run / "run.lock");
  require_error([&] { const RunLock lock(run.path()); }, ExitCode::kCannotCreate, {"run.lock"});
  REQUIRE_FALSE(std::filesystem::exists(run / "elsewhere"));
}
