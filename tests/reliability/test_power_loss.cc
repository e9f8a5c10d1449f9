// Power cuts at every operation of a run, with the ways a disk can lose what was not synced.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "tests/reliability/sim_vfs.h"
#include "tests/reliability/small_run.h"

using namespace bigbigan;

namespace {

const Vfs::Path kRun = "/runs/first";
constexpr uint32_t kSeeds = 8;  // of the random policies
using Forgotten = std::function<bool(const Vfs::Path&)>;

struct Survey {
  int64_t points = 0, failures = 0;
  std::string first_failure;
};

// Cuts the power at operation `at` of a run and continues after it; false when the run ends before.
bool power_loss_at(int64_t at, const Forgotten& forgotten, Survey& survey) {
  SimVfs disk;
  disk.forget_syncs_of(forgotten);
  disk.lose_power_at(at);
  int64_t acknowledged = 0;
  try {
    small_run(disk, kRun, acknowledged);
    return false;
  } catch (const PowerLoss&) {
  }
  for (const Survival survival :
       {Survival::kNothing, Survival::kNamesOnly, Survival::kTorn, Survival::kZeroFilled,
        Survival::kOrdered, Survival::kUnordered}) {
    const bool is_random = survival == Survival::kOrdered || survival == Survival::kUnordered;
    for (uint32_t seed = 0; seed < (is_random ? kSeeds : 1); ++seed) {
      SimVfs after = disk.after_power_loss(survival, seed);
      const std::string problem = recover_and_finish(after, kRun, acknowledged);
      ++survey.points;
      if (problem.empty()) continue;
      ++survey.failures;
      if (survey.first_failure.empty()) {
        survey.first_failure = fmt::format("operation {}, policy {}, seed {}: {}", at,
                                           static_cast<int>(survival), seed, problem);
      }
    }
  }
  return true;
}

Survey survey_of(const Forgotten& forgotten) {
  Survey survey;
  for (int64_t at = 1; power_loss_at(at, forgotten, survey); ++at) {
  }
  return survey;
}

bool is_in_staging(const Vfs::Path& path) {
  return path.parent_path().filename().string().starts_with(".tmp-");
}

}  // namespace

TEST_CASE("power loss: no acknowledged step is lost at any operation") {
  const Survey survey = survey_of(nullptr);
  INFO(survey.first_failure);
  REQUIRE(survey.points > 1000);
  REQUIRE(survey.failures == 0);
}

TEST_CASE("power loss: a run that forgets any one sync is caught") {
  const std::pair<const char*, Forgotten> mutants[] = {
      {"data files", [](const auto& p) { return is_in_staging(p) && p.filename() == "model"; }},
      {"manifest", [](const auto& p) { return is_in_staging(p) && p.filename() == "MANIFEST"; }},
      {"staging directory",
       [](const auto& p) { return p.filename().string().starts_with(".tmp-"); }},
      {"run directory", [](const auto& p) { return p == kRun; }},
      {"parent of the run directory", [](const auto& p) { return p == kRun.parent_path(); }},
      {"root", [](const auto& p) { return p == "/"; }},
  };
  for (const auto& [what, forgotten] : mutants) {
    INFO(what);
    REQUIRE(survey_of(forgotten).failures > 0);
  }
}

TEST_CASE("power loss: a second one while the run recovers") {
  for (int64_t first = 1;; first += 5) {
    SimVfs disk;
    disk.lose_power_at(first);
    int64_t acknowledged = 0;
    try {
      small_run(disk, kRun, acknowledged);
      break;
    } catch (const PowerLoss&) {
    }
    for (const Survival survival : {Survival::kNothing, Survival::kTorn, Survival::kUnordered}) {
      for (int64_t second = 1; second < 40; second += 3) {
        SimVfs again = disk.after_power_loss(survival, 1);
        again.lose_power_at(second);
        int64_t then = acknowledged;
        try {
          small_run(again, kRun, then);
        } catch (const PowerLoss&) {
        }
        SimVfs after = again.after_power_loss(survival, 2);
        INFO(first << " " << second << " " << static_cast<int>(survival));
        REQUIRE(recover_and_finish(after, kRun, std::max(then, acknowledged)) == "");
      }
    }
  }
}

TEST_CASE(
    "power loss: an atomic write leaves the old or the new contents, the new once it returned") {
  const auto check_points = [](const Forgotten& forgotten) {
    int failures = 0;
    for (int64_t at = 1; at <= 10; ++at) {
      SimVfs disk;
      write_file_atomic(disk, "/file", "old");
      disk.forget_syncs_of(forgotten);
      disk.lose_power_at(at);
      bool returned = false;
      try {
        write_file_atomic(disk, "/file", "new contents");
        returned = true;
      } catch (const PowerLoss&) {
      }
      for (int survival = 0; survival <= static_cast<int>(Survival::kUnordered); ++survival) {
        SimVfs after = disk.after_power_loss(static_cast<Survival>(survival), 3);
        const std::string text = after.exists("/file") ? read_text(after, "/file", 100) : "none";
        const bool is_good = text == "new contents" || (text == "old" && !returned);
        failures += is_good ? 0 : 1;
      }
    }
    return failures;
  };
  REQUIRE(check_points(nullptr) == 0);
  REQUIRE(check_points([](const auto& p) { return p.filename() != "file" && p != "/"; }) > 0);
  REQUIRE(check_points([](const auto& p) { return p == "/"; }) > 0);
}
