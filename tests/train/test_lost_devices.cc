// Ranks whose devices wait for each other and do not get on: the run ends with kPeerLost, says who
// is missing, and gives the device's collectives up, once and not for ever.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "engine/util/program.h"
#include "tests/engine_io/scratch.h"
#include "tests/engine_util/count.h"
#include "tests/engine_world/thread_world.h"
#include "train/ranks.h"

using namespace bigbigan;

namespace {

enum class Trouble : uint8_t { kNeverEnds, kRemoteError, kHangsInAbort };

[[noreturn]] void sleep_for_ever() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

// Collectives that return at once, as those of a GPU do.
class FakeDevice final : public DeviceCommunicator {
 public:
  FakeDevice(Communicator& bootstrap, Trouble trouble) : bootstrap_(bootstrap), trouble_(trouble) {}
  [[nodiscard]] int rank() const override { return bootstrap_.rank(); }
  [[nodiscard]] int size() const override { return bootstrap_.size(); }
  void all_reduce_sum(View) override {}
  void reduce_scatter_sum(View, View) override {}
  void all_gather(ConstView, View) override {}
  void broadcast(View, int) override {}
  void barrier() override {}
  [[nodiscard]] std::string error() const override {
    return trouble_ == Trouble::kRemoteError && rank() == 0 ? "NCCL: remote process exited" : "";
  }
  void abort() noexcept override {
    note(fmt::format("abort of rank {}", rank()));
    if (trouble_ == Trouble::kHangsInAbort) sleep_for_ever();
  }

 private:
  Communicator& bootstrap_;
  Trouble trouble_;
};

// Two ranks in step 7; rank 0 waits for its device, rank 1 does not come to that. An error shows
// before anyone is late.
void train(const Vfs::Path& folder, Trouble trouble) {
  const RanksConfig config{.setup_seconds = 5,
                           .step_seconds = trouble == Trouble::kRemoteError ? 60.0 : 1.0};
  run_thread_ranks(2, [&](Communicator& comm) {
    PosixVfs vfs;
    ThreadWorld world(comm);
    const Ranks ranks(world, vfs, folder, config, [&](Communicator& bootstrap) {
      return std::make_unique<FakeDevice>(bootstrap, trouble);
    });
    const Ranks::InPhase phase(ranks, Phase::kStep);
    ranks.begin_step(7, 0.001);
    if (comm.rank() == 1) sleep_for_ever();
    const auto waiting = ranks.waiting_for_device();
    sleep_for_ever();
  });
}

// What a process that trains like that leaves on standard error; it ends with kPeerLost.
std::string end_of(const ScratchFolder& folder, Trouble trouble) {
  const std::filesystem::path err = folder / "err";
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);  // it shall not outlive a test that fails
    if (std::freopen(err.c_str(), "w", stderr) != nullptr) train(folder / ".", trouble);
    std::_Exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  const std::string text = read_raw(err);
  INFO(text);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == static_cast<int>(ExitCode::kPeerLost));
  return text;
}

}  // namespace

TEST_CASE("lost devices: a device's work that never ends names who has not come to it") {
  const ScratchFolder folder;
  const std::string text = end_of(folder, Trouble::kNeverEnds);
  INFO(text);
  CHECK_THAT(text, Catch::Contains("rank 0 has waited 1.") &&
                       Catch::Contains("for its device's work, number 5 (phase step, step 7)"));
  CHECK_THAT(text, Catch::Contains("Not there: rank 1") &&
                       Catch::Contains("The newest checkpoint is untouched"));
  CHECK(count(text, "abort of rank 0") == 1);
  CHECK_THAT(read_raw(folder / "errors/rank-00000.json"), Catch::Contains("\"code\":76"));
}

TEST_CASE("lost devices: an error of the device ends the run") {
  const ScratchFolder folder;
  const std::string text = end_of(folder, Trouble::kRemoteError);
  INFO(text);
  CHECK_THAT(text, Catch::Contains("rank 0 (phase step, step 7): NCCL: remote process exited"));
  CHECK(count(text, "abort of rank 0") == 1);
}

TEST_CASE("lost devices: one that hangs while it is given up is left behind") {
  const ScratchFolder folder;
  const std::string text = end_of(folder, Trouble::kHangsInAbort);
  INFO(text);
  CHECK(count(text, "abort of rank 0") == 1);
}

TEST_CASE("lost devices: ranks on GPUs and ranks on CPUs do not train together") {
  const ScratchFolder folder;
  const auto mixed = [&] {
    run_thread_ranks(2, [&](Communicator& comm) {
      PosixVfs vfs;
      ThreadWorld world(comm);
      Ranks::DeviceMaker maker;
      if (comm.rank() == 0) {
        maker = [](Communicator& bootstrap) {
          return std::make_unique<FakeDevice>(bootstrap, Trouble::kNeverEnds);
        };
      }
      const Ranks ranks(world, vfs, folder / ".", {}, maker);
    });
  };
  CHECK_THROWS_WITH(mixed(),
                    Catch::Contains("rank 1 differs in the device: the CPU, rank 0 has a GPU"));
}
