// Many ranks under mpirun: what happens when one of them fails.
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "tests/e2e/ranks.h"

using namespace bigbigan;

namespace {

// A rank may be late by three seconds.
const Words kShortLimits = {"ranks.setup_seconds=3", "ranks.step_seconds=3",
                            "ranks.checkpoint_seconds=3"};

constexpr int kRanks = 4;

// How a rank may end, and what mpirun then ends with.
struct End {
  const char* kind;
  int code;
};
const std::vector<End> kEnds = {{"kill", 137}, {"segv", 139}, {"throw", 71},
                                {"exit", 1},   {"exit3", 3},
#if !defined(__SANITIZE_ADDRESS__)  // which ends a program itself where there is no memory
                                {"memory", 71}
#endif
};

// RUN/errors: what one rank or more ended with.
std::string records(const TinyTraining& tiny, const std::string& run) {
  std::string all;
  for (const auto& file : std::filesystem::directory_iterator(tiny / run / "errors")) {
    all += file.path().filename().string() + ": " + read_raw(file.path());
  }
  return all;
}

// Whether a process runs that was started with this word.
bool is_running(const std::string& word) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    const std::string words{std::istreambuf_iterator<char>(file), {}};
    if (words.find(word) != std::string::npos) return true;
  }
  return false;
}

// No rank outlives its run for long.
void require_all_ended(const TinyTraining& tiny, const std::string& run) {
  constexpr int kLooks = 1000;
  const std::string word = (tiny / run).string() + std::string(1, '\0');
  for (int i = 0; is_running(word); ++i) {
    REQUIRE(i < kLooks);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

// After a fault at `point` of step 4: rank 0 may save that step where another rank is lost.
void check_steps(const TinyTraining& tiny, const std::string& run, int point) {
  const int64_t last = tiny.steps(run).back();
  CHECK((last == 2 || (last == 4 && point > 2)));
}

// With a fault at `point` of step `step` of a rank: the result, when all its processes have ended.
ProcessResult train_with_fault(const TinyTraining& tiny, const std::string& name,
                               const std::string& kind, int rank, int step, int point) {
  ProcessResult result = train(tiny, kRanks, name, kShortLimits,
                               {"BIGBIGAN_FAULT=" + kind + "@" + std::to_string(rank) + ":" +
                                std::to_string(step) + ":" + std::to_string(point)});
  require_all_ended(tiny, name);
  return result;
}

}  // namespace

// Each end at each point, each end of each rank, and each rank at each point.
TEST_CASE("ranks: the death of any rank, at any point, ends all, and nothing is lost") {
  const TinyTraining tiny;
  for (size_t e = 0; e < kEnds.size(); ++e) {
    for (const int point : {1, 2, 3, 4}) {
      const auto& [kind, code] = kEnds[e];
      const int rank = (static_cast<int>(e) + point) % kRanks;
      const std::string name = kind + std::to_string(point), number = std::to_string(rank);
      INFO(kind << " of rank " << rank << " at point " << point);
      const ProcessResult result = train_with_fault(tiny, name, kind, rank, 4, point);
      INFO(result.err);
      CHECK(result.code == code);
      // Open MPI's words, or ours.
      CHECK_THAT(result.err + result.out,
                 Catch::Contains("rank " + number + " ") || Catch::Contains(",1]," + number + "]"));
      if (code == 71) {
        const std::string what =
            kind == std::string("throw") ? "an error by fault injection" : "out of memory";
        CHECK(count(result.err, what) == 1);
        CHECK_THAT(records(tiny, name),
                   Catch::Contains("rank-0000" + number + ".json: ") && Catch::Contains(what));
      }
      check_steps(tiny, name, point);
    }
  }
  // The newest checkpoint loads, by one rank as well as by four.
  REQUIRE(tiny.train("kill1").code == 0);
  REQUIRE(train(tiny, kRanks, "segv4").code == 0);
}

TEST_CASE("ranks: one that does not come is named, and all end with 76") {
  const TinyTraining tiny;
  const std::vector<std::string> kinds = {"stop", "loop"};
  for (const int point : {1, 2, 3, 4}) {
    const int rank = (point + 1) % kRanks;
    const std::string kind = kinds[point % 2], name = kind + std::to_string(rank);
    INFO(kind << " of rank " << rank << " at point " << point);
    const ProcessResult result = train_with_fault(tiny, name, kind, rank, 4, point);
    INFO(result.err);
    CHECK(result.code == 76);
    const std::string text = "Not there: rank " + std::to_string(rank) + ";";
    CHECK_THAT(result.err, Catch::Contains(text) && Catch::Contains("in collective number") &&
                               Catch::Contains(point < 3 ? "phase step" : "phase checkpoint"));
    // One of those that wait leaves what it did last.
    CHECK_THAT(records(tiny, name),
               Catch::Contains(text) && Catch::Contains("all_reduce_sum 4 bytes step 3; "));
    check_steps(tiny, name, point);
    CHECK(tiny.train(name).code == 0);
  }
}

TEST_CASE("ranks: one that leaves out a collective ends all with 70, which names both sides") {
  const TinyTraining tiny;
  for (const int rank : {0, 3}) {
    const ProcessResult result = train_with_fault(tiny, std::to_string(rank), "skip", rank, 3, 1);
    INFO(result.err);
    CHECK(result.code == 70);
    const std::string vote = "all_reduce_sum of 4 bytes of i32";
    CHECK_THAT(result.err, Catch::Contains("different collectives: rank 0 in number ") &&
                               Catch::Contains(rank == 0 ? ", rank 1 in number "
                                                         : vote + ", rank 3 in number "));
    CHECK(count(result.err, "different collectives") == 1);
  }
}

TEST_CASE("ranks: one whose weights differ is named, before they are saved") {
  const TinyTraining tiny;
  for (const auto& [rank, text] :
       {std::pair(0, "the weights of rank 0 are not those of the others"),
        {3, "the weights of rank 3 are not those of rank 0"}}) {
    const std::string name = std::to_string(rank);
    const ProcessResult result = train_with_fault(tiny, name, "drift", rank, 3, 1);
    INFO(result.err);
    CHECK(result.code == 79);
    CHECK_THAT(result.err, Catch::Contains(text));
    CHECK(count(result.err, "the weights of rank") == 1);
    CHECK(tiny.steps(name) == std::vector<int64_t>{2});
  }
}

TEST_CASE("ranks: NaN on one is skipped by all") {
  const TinyTraining tiny;
  const ProcessResult result =
      train(tiny, 2, "run", {"ranks.compare_every_steps=1"}, {"BIGBIGAN_FAULT=nan@1:3"});
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK(count(result.err, "SKIPPED") == 1);
}

TEST_CASE("ranks: a full disk of rank 0 ends all with 74 and one message") {
  const TinyTraining tiny;
  const ProcessResult result = train_with_fault(tiny, "run", "enospc", 0, 4, 1);
  INFO(result.err);
  CHECK(result.code == 74);
  CHECK(count(result.err, "not saved") == 1);
  CHECK(count(result.err, "error: ") == 1);
  CHECK(tiny.steps("run") == std::vector<int64_t>{2});
}
