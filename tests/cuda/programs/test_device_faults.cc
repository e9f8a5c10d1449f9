// A device that fails for good in the middle of a run (as after an illegal address in a kernel),
// and one whose memory ends: exit code 71 in one line, the last checkpoint whole, and the run that
// continues from it ends with the bits of one that was never disturbed.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <set>

#include "tests/cuda/programs/device_run.h"

using namespace bigbigan;

namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr int kPoints = 4;  // of a sweep, at seconds each
#else
constexpr int kPoints = 10;
#endif

// Runs with `variable` at points spread over [first, last]: each either ends well or as described
// above, and `needed` of them do not end well. Every other run has two steps behind it.
void sweep(const char* variable, int64_t first, int64_t last, const char* message, int needed) {
  const DeviceRun run;
  const ProcessResult undisturbed = run.train("undisturbed");
  INFO(undisturbed.err);
  REQUIRE(undisturbed.code == 0);
  const std::string expected = run.files().state("undisturbed", 6);
  int failed = 0;
  std::set<int64_t> resumed;
  for (int i = 0; i < kPoints; ++i) {
    const int64_t at = first + (last - first) * i / (kPoints - 1);
    const std::string name = fmt::format("run-{}", i);
    const std::string setting = fmt::format("{}={}", variable, at);
    INFO(setting);
    if (i % 2 == 1) REQUIRE(run.train(name, {}, {"train.steps=2"}).code == 0);
    const ProcessResult disturbed = run.train(name, {setting});
    if (disturbed.code != 0) {
      require_one_line(disturbed, message);
      ++failed;
    }
    const ProcessResult again = run.train(name);
    INFO(again.err);
    REQUIRE(again.code == 0);
    REQUIRE(resumed_from(again) == std::max<int64_t>(last_saved(disturbed), i % 2 == 1 ? 2 : 0));
    REQUIRE(run.files().state(name, 6) == expected);
    resumed.insert(resumed_from(again));
  }
  REQUIRE(failed >= needed);
  REQUIRE(resumed.size() > 1);  // the points lie before and behind checkpoints
}

}  // namespace

TEST_CASE("device fault: at the nth kernel") {
  sweep("EMU_FAULT_LAUNCH", 2, 6000, "cudaErrorIllegalAddress", kPoints / 2);
}

TEST_CASE("device fault: at the nth wait") {
  sweep("EMU_FAULT_WAIT", 2, 4000, "cudaErrorIllegalAddress", kPoints / 4);
}

TEST_CASE("device memory: too little, for every part of a run") {
  sweep("EMU_MEMORY", 1000, 1'100'000, "out of memory: ", kPoints / 2);
}

TEST_CASE("device memory: what is proposed fits, and a little more does not") {
  const DeviceRun run;
  const std::vector<std::string> memory = {"EMU_MEMORY=2500000"};
  const ProcessResult refused = run.train("refused", memory, {"train.batch=32"});
  const auto proposed = [&](const std::string& key) {
    require_one_line(refused, key + "=");
    return std::stoll(refused.err.substr(refused.err.find(key + "=") + key.size() + 1));
  };
  const int64_t parts = proposed("train.micro_batches"), batch = proposed("train.batch");
  INFO(refused.err);
  REQUIRE(parts > 1);
  REQUIRE(batch > 1);
  const auto code_with = [&](int64_t images, int64_t micro_batches) {
    return run
        .train(fmt::format("{}-{}", images, micro_batches), memory,
               {fmt::format("train.batch={}", images),
                fmt::format("train.micro_batches={}", micro_batches), "train.steps=3"})
        .code;
  };
  CHECK(code_with(batch, 1) == 0);
  CHECK(code_with(batch + 1, 1) == 71);
  CHECK(code_with(32, parts) == 0);
  CHECK(code_with(32, parts / 2) == 71);
}
