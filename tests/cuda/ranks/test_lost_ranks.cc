// Runs on several GPUs of which one rank fails, in the middle of recorded steps. Ranks are threads:
// one that is killed, or leaves with an exit code, is for tests/e2e/test_lost_ranks.cc. Each run is
// that of a child process, which it may end.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>

#include "engine/io/checkpoint.h"
#include "engine/util/program.h"
#include "tests/cuda/ranks/gpu_run.h"

using namespace bigbigan;

namespace {

constexpr int kRanks = 3;

// A rank's images: one in each batch. A checkpoint after every step; steps are recorded from the
// second on.
Config config_of(const ScratchFolder& folder) {
  Config c = gpu_run(folder, kRanks, 3);
  c.checkpoint.every_steps = 1;
  c.checkpoint.keep = 9;
  return c;
}

struct End {
  ExitCode code = ExitCode::kOk;
  std::string text;  // on standard error
};

// In the child: rank r's part of the run is body(its communicator). What each rank ends with is
// said, and the first of their errors is the end of all.
template <class Body>
[[noreturn]] void run_and_end(const Body& body) {
  ExitCode code = ExitCode::kOk;
  try {
    run_thread_ranks(kRanks, [&](Communicator& comm) {
      try {
        body(comm);
      } catch (const Error& e) {
        note(fmt::format("rank {} ends with {}: {}", comm.rank(), static_cast<int>(e.code()),
                         e.what()));
        throw;
      }
    });
  } catch (const Error& e) {
    code = e.code();
  }
  std::_Exit(static_cast<int>(code));
}

template <class Body>
End end_of(const ScratchFolder& folder, const std::string& fault, const Body& body) {
  const std::filesystem::path err = folder / "err";
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(600);  // it shall not outlive a test that fails
    std::signal(SIGXFSZ, SIG_IGN);
    if (!fault.empty()) ::setenv("BIGBIGAN_FAULT", fault.c_str(), 1);
    if (std::freopen(err.c_str(), "w", stderr) != nullptr) run_and_end(body);
    std::_Exit(0);
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
                [&](Communicator& comm) { train_gpu_rank(comm, folder / "run", config); });
}

std::vector<int64_t> steps_of(const ScratchFolder& folder) {
  PosixVfs vfs;
  return checkpoint_steps(vfs, folder / "run");
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

// The others have launched their third step, and wait in it for their GPUs.
TEST_CASE("GPU ranks: one that fails in a recorded step ends all, and the run goes on",
          "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  const End end = end_of_run(folder, "throw@1:3:1", config_of(folder));
  INFO(end.text);
  CHECK(end.code == ExitCode::kSystem);
  CHECK(count(end.text, "rank 1 ends with 71: step 3: an error by fault injection") == 1);
  CHECK(count(end.text, "rank 0 ends with 76: ") == 1);
  CHECK(count(end.text, "rank 2 ends with 76: ") == 1);
  CHECK(steps_of(folder) == std::vector<int64_t>{1, 2});
  const End rest = end_of_run(folder, "", config_of(folder));
  INFO(rest.text);
  CHECK(rest.code == ExitCode::kOk);
  CHECK(count(rest.text, "resumed ") == 1);
  CHECK(steps_of(folder).back() == 3);
}

TEST_CASE("GPU ranks: one that does not come to the first step is named", "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  Config config = config_of(folder);
  config.ranks.setup_seconds = 10;  // also of the first step
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
  const End end = end_of_run(folder, "loop@1:3:1", config_of(folder));
  INFO(end.text);
  CHECK(end.code == ExitCode::kPeerLost);
  CHECK_THAT(end.text, Catch::Contains("(phase step, step 3): NCCL: remote process exited") &&
                           Catch::Contains("rank 1 has not come within"));
  CHECK(steps_of(folder) == std::vector<int64_t>{1, 2});
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
  CHECK(skipped == std::vector<int64_t>{0, 1, 1});
  // Nothing but batch norm's statistics moves in that step.
  const auto adam = [&](int64_t step) {
    return read_raw(checkpoint_path(folder / "run", step) / "optim.safetensors");
  };
  CHECK(adam(1) == adam(2));
  CHECK(adam(2) != adam(3));
}

TEST_CASE("GPU ranks: one whose weights differ is named, before they are saved", "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  const End end = end_of_run(folder, "drift@2:2", config_of(folder));
  INFO(end.text);
  CHECK(end.code == ExitCode::kNumerical);
  CHECK(count(end.text, "ends with 79: step 2: the weights of rank 2 are not those of rank 0") ==
        kRanks);
  CHECK(steps_of(folder) == std::vector<int64_t>{1});
}

TEST_CASE("GPU ranks: a full disk of rank 0 ends all", "[.lost_ranks]") {
  const ScratchFolder folder;
  write_images(folder);
  const End end = end_of_run(folder, "enospc@0:2", config_of(folder));
  INFO(end.text);
  CHECK(end.code == ExitCode::kWriteFailed);
  CHECK(count(end.text, "rank 0 ends with 74: ") == 1);
  CHECK(count(end.text, " ends with 76: ") == 2);
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
    train_gpu_rank(comm, folder / "run", config);
  });
  INFO(end.text);
  CHECK(end.code == ExitCode::kBadData);
  CHECK(count(end.text, "rank 1 ends with 65: ") == 1);
  CHECK(steps_of(folder).empty());
}
