// Many ranks under mpirun: the same training, and what happens when one of them fails.
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <csignal>

#include "engine/io/jsonl.h"
#include "tests/e2e/tiny_training.h"

using namespace bigbigan;

namespace {

using Words = std::vector<std::string>;

// The limits of a rank's lateness, in seconds.
constexpr double kLimit = 3;
const Words kShortLimits = {"ranks.setup_seconds=3", "ranks.step_seconds=3",
                            "ranks.checkpoint_seconds=3"};

Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// The MPI library's own leaks are not ours.
const Words kNoLeaks = {"ASAN_OPTIONS=detect_leaks=0"};

Words ranks(const TinyTraining& tiny, int n, const std::string& name, const Words& more = {}) {
  return mpirun() + Words{"-np", std::to_string(n)} +
         tiny.arguments(name, Words{"train.threads=1"} + more);
}

ProcessResult train(const TinyTraining& tiny, int n, const std::string& name,
                    const Words& more = {}, const Words& environment = {}) {
  return run_process(ranks(tiny, n, name, more), environment + kNoLeaks);
}

double seconds_of(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Losses of a run, step by step.
std::vector<double> losses(const TinyTraining& tiny, const std::string& name) {
  PosixVfs vfs;
  std::vector<double> all;
  for (const FlatJson& line : read_jsonl(vfs, tiny / name / "stats.jsonl")) {
    all.push_back(json_get<double>(line, "loss_d", "stats"));
    all.push_back(json_get<double>(line, "loss_eg", "stats"));
  }
  return all;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

// "errors/rank-00002.json" is there and holds `text`.
void require_record(const TinyTraining& tiny, const std::string& run, int rank,
                    const std::string& text) {
  const auto file = tiny / run / "errors" / ("rank-0000" + std::to_string(rank) + ".json");
  REQUIRE(std::filesystem::exists(file));
  REQUIRE_THAT(read_raw(file), Catch::Contains(text));
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("ranks: 1, 2 and 4 processes train alike, and the same number twice bit for bit") {
  const TinyTraining tiny;
  tiny.train_well("one");
  for (const int n : {2, 4}) {
    const std::string name = std::to_string(n), again = name + "again";
    const ProcessResult result = train(tiny, n, name);
    INFO(result.err);
    REQUIRE(result.code == 0);
    REQUIRE(count(result.out, "saved ") == 4);  // rank 0 alone speaks
    const std::vector<double> found = losses(tiny, name), expected = losses(tiny, "one");
    // Adam's first steps turn rounding into steps of full size: only then do the runs drift apart.
    CHECK(distance({found[0], found[1]}, {expected[0], expected[1]}) < 1e-5);
    CHECK(distance(found, expected) < 0.5);
    REQUIRE(train(tiny, n, again).code == 0);
    CHECK(tiny.state(name, 8) == tiny.state(again, 8));
    CHECK(tiny.history(name) == tiny.history(again));
  }
}

TEST_CASE("ranks: with micro-batches too, and each rank's memory is planned") {
  const TinyTraining tiny;
  const Words halves = {"train.micro_batches=2", "train.steps=1"};
  tiny.train_well("one", halves);
  REQUIRE(train(tiny, 2, "two", halves).code == 0);
  CHECK(distance(losses(tiny, "two"), losses(tiny, "one")) < 1e-5);
  const ProcessResult plan = train(tiny, 2, "plan", halves + Words{"--dry-run"});
  INFO(plan.err);
  REQUIRE(plan.code == 0);
  CHECK(count(plan.out, "Memory plan for train.batch = 8, each of 2 ranks: ") == 1);
}

TEST_CASE("ranks: a sharded optimiser gives the same bits, and resumes as any other") {
  const TinyTraining tiny;
  const Words pictures = {"sample.every_steps=4"};
  const Words sharded = pictures + Words{"ranks.shard_optimizer=true"};
  REQUIRE(train(tiny, 2, "whole", pictures).code == 0);
  REQUIRE(train(tiny, 2, "run", sharded + Words{"train.steps=2"}).code == 0);
  REQUIRE(train(tiny, 2, "run", pictures + Words{"train.steps=5"}).code == 0);
  const ProcessResult result = train(tiny, 2, "run", sharded);
  INFO(result.err);
  REQUIRE(result.code == 0);
  REQUIRE(resumed_from(result) == 5);
  CHECK(tiny.history("run") == tiny.history("whole"));
  for (const char* picture : {"fakes-00000008.png", "recon-00000008.png"}) {
    CHECK(read_raw(tiny / "run" / picture) == read_raw(tiny / "whole" / picture));
  }
}

TEST_CASE("ranks: a run that is stopped goes on bit for bit, and with fewer ranks") {
  const TinyTraining tiny;
  REQUIRE(train(tiny, 2, "reference").code == 0);
  Process stopped(ranks(tiny, 2, "run", {"train.steps=1000"}), kNoLeaks);
  stopped.wait_for("step 3/");
  stopped.send(SIGUSR1);
  const ProcessResult first = stopped.wait();
  INFO(first.err);
  REQUIRE(first.code == 75);
  REQUIRE(count(first.err, "stopped on request") == 1);
  const int64_t at = tiny.steps("run").back();
  REQUIRE(train(tiny, 2, "whole", {"train.steps=" + std::to_string(at + 4)}).code == 0);
  std::filesystem::copy(tiny / "run", tiny / "fewer", std::filesystem::copy_options::recursive);
  REQUIRE(train(tiny, 2, "run", {"train.steps=" + std::to_string(at + 4)}).code == 0);
  CHECK(tiny.state("run", at + 4) != "");
  CHECK(tiny.history("run") == tiny.history("whole"));
  const ProcessResult fewer = tiny.train("fewer", {"train.steps=" + std::to_string(at + 4)});
  INFO(fewer.err);
  REQUIRE(fewer.code == 0);
  REQUIRE(resumed_from(fewer) == at);
  CHECK(distance(losses(tiny, "fewer"), losses(tiny, "whole")) < 2e-3);
}

TEST_CASE("ranks: the death of any rank, at any point, ends all soon, and nothing is lost") {
  const TinyTraining tiny;
  for (const auto& [rank, kind] :
       {std::pair(0, "kill"), std::pair(1, "segv"), std::pair(2, "throw"), std::pair(3, "exit"),
        std::pair(2, "kill"), std::pair(0, "throw")}) {
    for (const int point : {1, 2, 3, 4}) {
      const std::string fault = "BIGBIGAN_FAULT=" + std::string(kind) + "@" + std::to_string(rank) +
                                ":4:" + std::to_string(point);
      const std::string name = kind + std::to_string(rank) + std::to_string(point);
      INFO(fault);
      ProcessResult result;
      const double seconds =
          seconds_of([&] { result = train(tiny, 4, name, kShortLimits, {fault}); });
      INFO(result.err);
      CHECK(result.code != 0);
      CHECK(seconds < 60);  // a hang, and no more: machines differ
      CHECK_THAT(result.err + result.out, Catch::Contains("rank " + std::to_string(rank)) ||
                                              Catch::Contains("Process name: [["));
      if (std::string(kind) == "throw") {
        CHECK(result.code == 71);
        CHECK(count(result.err, "an error by fault injection") == 1);
        require_record(tiny, name, rank, "an error by fault injection");
      }
      CHECK(tiny.steps(name).back() >= 2);
    }
  }
  // The newest checkpoint of each loads, by one rank as well as by four.
  REQUIRE(tiny.train("kill01").code == 0);
  REQUIRE(train(tiny, 4, "segv14").code == 0);
}

TEST_CASE("ranks: one that does not come is named, and all end with 76") {
  const TinyTraining tiny;
  for (const auto& [rank, kind] :
       {std::pair(2, "stop"), std::pair(1, "loop"), std::pair(0, "stop")}) {
    const std::string fault =
        "BIGBIGAN_FAULT=" + std::string(kind) + "@" + std::to_string(rank) + ":3";
    const std::string name = kind + std::to_string(rank);
    INFO(fault);
    const ProcessResult result = train(tiny, 4, name, kShortLimits, {fault});
    INFO(result.err);
    CHECK(result.code == 76);
    CHECK_THAT(result.err, Catch::Contains("Not there: rank " + std::to_string(rank) + ";"));
    CHECK_THAT(result.err, Catch::Contains("in collective number"));
    CHECK(tiny.steps(name) == std::vector<int64_t>{2});
    CHECK(tiny.train(name).code == 0);
  }
}

TEST_CASE("ranks: one that leaves out a collective ends all with 70, which names both sides") {
  const TinyTraining tiny;
  const ProcessResult result = train(tiny, 4, "run", kShortLimits, {"BIGBIGAN_FAULT=skip@3:3"});
  INFO(result.err);
  CHECK(result.code == 70);
  CHECK_THAT(result.err,
             Catch::Contains("different collectives: rank 0 in number ") &&
                 Catch::Contains("all_reduce_sum of 4 bytes of i32, rank 3 in number "));
  CHECK(count(result.err, "different collectives") == 1);
}

TEST_CASE("ranks: one whose weights differ is named, before they are saved") {
  const TinyTraining tiny;
  const ProcessResult result =
      train(tiny, 3, "run", {"train.batch=9"}, {"BIGBIGAN_FAULT=drift@2:3"});
  INFO(result.err);
  CHECK(result.code == 79);
  CHECK_THAT(result.err, Catch::Contains("the weights of rank 2 are not those of rank 0"));
  CHECK(count(result.err, "the weights of rank") == 1);
  CHECK(tiny.steps("run") == std::vector<int64_t>{2});
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
  const ProcessResult result = train(tiny, 2, "run", {}, {"BIGBIGAN_FAULT=enospc@0:4"});
  INFO(result.err);
  CHECK(result.code == 74);
  CHECK(count(result.err, "not saved") == 1);
  CHECK(tiny.steps("run") == std::vector<int64_t>{2});
}

TEST_CASE("ranks: launches that cannot work are refused with 78") {
  const TinyTraining tiny;
  SECTION("a batch that does not divide") {
    const ProcessResult result = train(tiny, 3, "run");
    INFO(result.err);
    CHECK(result.code == 78);
    CHECK_THAT(result.err,
               Catch::Contains("train.batch 8 does not divide by train.micro_batches 1 x 3 ranks: "
                               "give 6 or 9"));
    CHECK(count(result.err, "does not divide") == 1);
  }
  SECTION("another launcher's processes") {
    const ProcessResult result = tiny.train("run", {}, {"WORLD_SIZE=8", "RANK=0"});
    CHECK(result.code == 78);
    CHECK_THAT(result.err,
               Catch::Contains("torchrun started 8 processes") && Catch::Contains("mpirun -n 8"));
  }
  const auto two = [&](const Words& where, const Words& more) {
    return run_process(mpirun() + Words{"-np", "1"} + tiny.arguments("run", {"train.threads=1"}) +
                       Words{":", "-np", "1"} + where +
                       tiny.arguments("run", Words{"train.threads=1"} + more));
  };
  SECTION("another configuration") {
    const ProcessResult result = two({}, {"optim.g_lr=0.5"});
    INFO(result.err);
    CHECK(result.code == 78);
    CHECK_THAT(result.err, Catch::Contains("rank 1 differs in optim.g_lr: 0.5, rank 0 has 0.001"));
  }
  SECTION("another number of steps, though a run may go on with it") {
    const ProcessResult result = two({}, {"train.steps=9"});
    INFO(result.err);
    CHECK(result.code == 78);
    CHECK_THAT(result.err, Catch::Contains("rank 1 differs in train.steps: 9, rank 0 has 8"));
  }
  SECTION("other data") {
    write_tiny_images(tiny / "other.npy", 64, 2);
    const ProcessResult result = two({}, {"data.path=" + (tiny / "other.npy").string()});
    INFO(result.err);
    CHECK(result.code == 78);
    CHECK_THAT(result.err, Catch::Contains("rank 1 differs in the data"));
  }
  SECTION("a run directory that only some see") {
    for (const char* folder : {"a", "b"}) std::filesystem::create_directory(tiny / folder);
    const auto at = [&](const char* folder) {
      Words words = {"-np", "1", "--wdir", tiny / folder};
      Words arguments = tiny.arguments("run", {"train.threads=1"});
      for (std::string& word : arguments) {
        if (word == (tiny / "run").string()) word = "run";
      }
      return words + arguments;
    };
    const ProcessResult result = run_process(mpirun() + at("a") + Words{":"} + at("b"));
    INFO(result.err);
    CHECK(result.code == 78);
    CHECK_THAT(result.err,
               Catch::Contains("rank 1 on ") && Catch::Contains("does not see the run directory"));
  }
}
