// The watchdog over thread-ranks: silent while all come, and right about who does not.
#include "engine/world/watchdog.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <memory>

#include "tests/engine_io/scratch.h"

using namespace bigbigan;

namespace {

constexpr WaitLimits kShort = {1.2, 1.2, 1.2, 1.2};
constexpr WaitLimits kLong = {60, 60, 60, 60};

// Three ranks, each with a watchdog. `body(rank, communicator, watchdog)` runs on all; the reports
// of those that found somebody late. A report releases the others by `released`.
struct ThreeRanks {
  ScratchFolder folder;
  std::atomic<bool> released{false};
  std::mutex mutex;
  std::map<int, LateReport> reports;

  using Body = std::function<void(Communicator&, Watchdog&)>;
  void run(const WaitLimits& limits, const Body& body) {
    run_thread_ranks(3, [&](Communicator& comm) {
      const int rank = comm.rank();
      Watchdog watchdog(folder / ".", rank, comm.size(), limits,
                        [&, rank](const LateReport& report) {
                          const std::lock_guard lock(mutex);
                          reports[rank] = report;
                          released = true;
                        });
      WatchedCommunicator watched(comm, watchdog);
      body(watched, watchdog);
    });
  }
  void wait_for_report() const {
    while (!released) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
};

}  // namespace

TEST_CASE("watchdog: nobody is late, nothing is said") {
  ThreeRanks world;
  world.run(kLong, [&](Communicator& comm, Watchdog& watchdog) {
    watchdog.set_phase(Phase::kStep);
    for (int step = 1; step <= 20; ++step) {
      watchdog.begin_step(step, 0.01);
      int32_t value = comm.rank();
      comm.all_reduce_sum({&value, {1}, DType::kI32});
      if (value != 3) throw std::runtime_error("a wrong sum");
      comm.barrier();
    }
    if (watchdog.recent().size() != 40) throw std::runtime_error("collectives not counted");
  });
  CHECK(world.reports.empty());
}

TEST_CASE("watchdog: the rank that does not come is named, with the collective and the step") {
  ThreeRanks world;
  world.run(kShort, [&](Communicator& comm, Watchdog& watchdog) {
    watchdog.set_phase(Phase::kStep);
    watchdog.begin_step(7, 0.001);
    comm.barrier();
    if (comm.rank() == 2) {
      watchdog.set_phase(Phase::kSetup);
      world.wait_for_report();
    }
    int64_t value = 1;
    comm.all_reduce_sum({&value, {1}, DType::kI64});
  });
  REQUIRE_FALSE(world.reports.empty());
  const LateReport& report = world.reports.begin()->second;
  INFO(report.message);
  CHECK(world.reports.begin()->first != 2);
  CHECK(report.late == std::vector<int>{2});
  CHECK_THAT(report.message, Catch::Contains("collective number 2, all_reduce_sum of 8 bytes"));
  CHECK_THAT(report.message, Catch::Contains("step 7") && Catch::Contains("Not there: rank 2"));
  CHECK_THAT(report.message, Catch::Contains("after barrier"));
  REQUIRE(report.recent.size() == 2);
  CHECK(report.recent[0].name == "barrier");
}

TEST_CASE("watchdog: a rank that comes to no collective at all reports itself") {
  ThreeRanks world;
  world.run(kShort, [&](Communicator& comm, Watchdog&) {
    if (comm.rank() == 0) world.wait_for_report();
    if (comm.rank() != 0) world.wait_for_report();
  });
  REQUIRE_FALSE(world.reports.empty());
  const auto& [rank, report] = *world.reports.begin();
  CHECK(report.late == std::vector<int>{rank});
  CHECK_THAT(report.message, Catch::Contains("stuck in its own work"));
}

TEST_CASE("watchdog: long steps and the first one have longer limits") {
  ThreeRanks world;
  world.run({1, 0.1, 60, 60}, [&](Communicator& comm, Watchdog& watchdog) {
    watchdog.set_phase(Phase::kStep);
    const auto come_late = [&] {
      if (comm.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(300));
      comm.barrier();
    };
    watchdog.begin_step(1, 0);  // as in set-up
    come_late();
    watchdog.begin_step(2, 0.2);  // twenty times this
    come_late();
    watchdog.set_phase(Phase::kCheckpoint);
    come_late();
  });
  CHECK(world.reports.empty());
}

TEST_CASE("progress table: what a rank writes, others read; nonsense is nothing") {
  const ScratchFolder folder;
  const ProgressTable mine(folder / ".", 3), other(folder / ".", 4);
  CHECK_FALSE(other.read(3));
  CHECK_FALSE(other.read(9));
  mine.write({.collective = 12,
              .is_waiting = true,
              .name = "barrier",
              .bytes = 7,
              .step = 5,
              .phase = "step",
              .process = "pid 1 on h",
              .written_seconds = 2.5});
  const auto read = other.read(3);
  REQUIRE(read);
  CHECK(read->collective == 12);
  CHECK(read->is_waiting);
  CHECK(read->name == "barrier");
  CHECK(read->step == 5);
  CHECK(read->process == "pid 1 on h");
  mine.write({.collective = 13});
  CHECK(other.read(3)->collective == 13);
  write_raw(folder / "rank-00003", "{\"collective\": 1");
  CHECK_FALSE(other.read(3));
  CHECK_THROWS_AS(ProgressTable(folder / "nowhere", 0), Error);
}

TEST_CASE("watchdog: an error of a device is reported, once its cause could report itself") {
  class Broken final : public DeviceCommunicator {
   public:
    [[nodiscard]] int rank() const override { return 0; }
    [[nodiscard]] int size() const override { return 2; }
    void all_reduce_sum(View) override {}
    void reduce_scatter_sum(View, View) override {}
    void all_gather(ConstView, View) override {}
    void broadcast(View, int) override {}
    void barrier() override {}
    [[nodiscard]] std::string error() const override { return "it is broken"; }
    void abort() noexcept override {}
  };
  const ScratchFolder folder;
  const auto device = std::make_shared<Broken>();
  std::atomic<int> reports = 0;
  const auto on_late = [&](const LateReport& report) {
    if (report.device == device && report.message.ends_with("it is broken")) ++reports;
  };
  {
    Watchdog watchdog(folder / ".", 0, 2, kLong, on_late);
    watchdog.add_device(device);
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }  // this rank has ended by itself
  CHECK(reports == 0);
  Watchdog watchdog(folder / ".", 0, 2, kLong, on_late);
  watchdog.add_device(device);
  while (reports == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  CHECK(reports == 1);
}
