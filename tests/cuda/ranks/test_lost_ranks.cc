// Runs on several GPUs of which one rank fails, in the middle of recorded steps. Ranks are threads:
// one that is killed, or leaves with an exit code, is for tests/e2e/test_lost_ranks.cc. Each run is
// that of a child process, which it may end.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>

#include "engine/io/checkpoint.h"
#include "engine/io/safetensors.h"
#include "engine/util/program.h"
#include "tests/cuda/ranks/gpu_run.h"
#include "tests/engine_util/count.h"

using namespace bigbigan;

namespace {

constexpr int kRanks = 3;

// Two steps, of which the second is recorded, each with a checkpoint.
Config config_of(const ScratchFolder& folder) {
  Config c = gpu_run(folder, kRanks, 2);
  c.checkpoint.every_steps = 1;
  return c;
}

struct End {
  ExitCode code = ExitCode::kOk;
  std::string text;  // on standard error
};

// In the child: each rank does its part as bigbigan-train does, and the first error ends all.
using Part = std::function<ExitCode(Communicator&)>;
[[noreturn]] void run_and_end(const Part& part) {
  run_thread_ranks(kRanks, [&](Communicator& comm) {
    ThreadWorld world(comm);
    run_rank(world, "test", [&] { return static_cast<int>(part(comm)); });
  });
  std::_Exit(0);
}

End end_of(const ScratchFolder& folder, const std::string& fault, const Part& part) {
  const std::filesystem::path err = folder / "err";
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(600);  // it shall not outlive a test that fails
    std::signal(SIGXFSZ, SIG_IGN);
    if (!fault.empty()) ::setenv("BIGBIGAN_FAULT", fault.c_str(), 1);
    if (std::freopen(err.c_str(), "w", stderr) != nullptr) run_and_end(part);
    std::_Exit(1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  End end{.text = read_raw(err)};
  INFO(end.text);
  REQUIRE(WIFEXITED(status));
  end.code = static_cast<ExitCode>(WEXITSTATUS(status));
  return end;
}

End end_of_run(const ScratchFolder& folder, const std::string& fault, const Config& config) {
  std::filesystem::create_directories(folder / "run");
  return end_of(folder, fault,
                [&](Communicator& comm) { return train_gpu_rank(comm, folder / "run", config); });
}

std::vector<int64_t> steps_of(const ScratchFolder& folder) {
  PosixVfs vfs;
  return checkpoint_steps(vfs, folder / "run");
}

// Adam's, of a checkpoint.
std::vector<std::byte> moments(const ScratchFolder& folder, int64_t step) {
  PosixVfs vfs;
  SafetensorsFile file(vfs, checkpoint_path(folder / "run", step) / "optim.safetensors");
  std::vector<std::byte> all;
  for (const std::string& name : file.names()) {
    std::vector<std::byte> bytes(file.info(name).bytes);
    file.read(name, bytes);
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  return all;
}

}  // namespace

// The others have launched their second step, and wait in it for their GPUs.
TEST_CASE("GPU ranks: one that fails in a recorded step ends all, and the run goes on",
          "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  const End end = end_of_run(folder, "throw@1:2:1", config_of(folder));
  INFO(end.text);
  CHECK(end.code == ExitCode::kSystem);
  CHECK(count(end.text, "error: rank 1 on host: step 2: an error by fault injection") == 1);
  CHECK(count(end.text, "error: ") == 1);
  CHECK(steps_of(folder) == std::vector<int64_t>{1});
  const End rest = end_of_run(folder, "", config_of(folder));
  INFO(rest.text);
  CHECK(rest.code == ExitCode::kOk);
  CHECK(count(rest.text, "resumed ") == 1);
  CHECK(steps_of(folder) == std::vector<int64_t>{1, 2});
}

TEST_CASE("GPU ranks: one that does not come to the first step is named", "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  Config config = config_of(folder);
  config.ranks.setup_seconds = config.ranks.step_seconds = 8;
  const End end = end_of_run(folder, "loop@1:1:1", config);
  INFO(end.text);
  CHECK(end.code == ExitCode::kPeerLost);
  CHECK_THAT(end.text, Catch::Contains("s for its device's work, number ") &&
                           Catch::Contains("Not there: rank 1;"));
}

// NCCL notices, as the stand-in does after EMU_NCCL_SECONDS.
TEST_CASE("GPU ranks: an error of NCCL in a recorded step ends all", "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  const End end = end_of_run(folder, "loop@1:2:1", config_of(folder));
  INFO(end.text);
  CHECK(end.code == ExitCode::kPeerLost);
  CHECK_THAT(end.text, Catch::Contains("(phase step, step 2): NCCL: remote process exited") &&
                           Catch::Contains("rank 1 has not come within"));
  CHECK(steps_of(folder) == std::vector<int64_t>{1});
}

TEST_CASE("GPU ranks: NaN on one is skipped by all in the same step", "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  Config config = config_of(folder);
  config.ranks.compare_every_steps = 1;
  const End end = end_of_run(folder, "nan@2:2", config);
  INFO(end.text);
  CHECK(end.code == ExitCode::kOk);
  CHECK(count(end.text, "SKIPPED") == 1);
  PosixVfs vfs;
  std::vector<int64_t> skipped;
  for (const FlatJson& line : read_jsonl(vfs, folder / "run" / "stats.jsonl")) {
    skipped.push_back(json_get<int64_t>(line, "skipped_steps", "stats"));
  }
  CHECK(skipped == std::vector<int64_t>{0, 1});
  CHECK((moments(folder, 1) == moments(folder, 2)));
}

TEST_CASE("GPU ranks: one whose weights differ is named, before they are saved", "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  const End end = end_of_run(folder, "drift@2:2", config_of(folder));
  INFO(end.text);
  CHECK(end.code == ExitCode::kNumerical);
  CHECK(count(end.text, "rank 0 on host: step 2: the weights of rank 2 are not those of") == 1);
  CHECK(count(end.text, "error: ") == 1);
  CHECK(steps_of(folder) == std::vector<int64_t>{1});
}

TEST_CASE("GPU ranks: a full disk of rank 0 ends all", "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  const End end = end_of_run(folder, "enospc@0:2", config_of(folder));
  INFO(end.text);
  CHECK(end.code == ExitCode::kWriteFailed);
  CHECK(count(end.text, "error: rank 0 on host: checkpoint of step 2 not saved") == 1);
  CHECK(count(end.text, "error: ") == 1);
  CHECK(steps_of(folder) == std::vector<int64_t>{1});
}

TEST_CASE("GPU ranks: data that one rank cannot read end all", "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  write_raw(folder / "torn.npy", read_raw(folder / "images.npy").substr(0, 5000));
  std::filesystem::create_directories(folder / "run");
  const End end = end_of(folder, "", [&](Communicator& comm) {
    Config config = config_of(folder);
    if (comm.rank() == 1) config.data.path = (folder / "torn.npy").string();
    return train_gpu_rank(comm, folder / "run", config);
  });
  INFO(end.text);
  CHECK(end.code == ExitCode::kBadData);
  CHECK(count(end.text, "error: rank 1 on host: ") == 1);
  CHECK(count(end.text, "error: ") == 1);
  CHECK(steps_of(folder).empty());
}
