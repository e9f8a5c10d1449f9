// Many ranks under mpirun: they train as one does, stop, go on, and do not start where they cannot.
#include <catch2/catch.hpp>
#include <csignal>

#include "tests/e2e/ranks.h"

using namespace bigbigan;

namespace {

// Of the 56 images: an epoch ends within a batch. For 1, 2, 3 and 4 ranks.
const Words kUneven = {"train.batch=12"};

}  // namespace

TEST_CASE("ranks: 1, 2, 3 and 4 processes train alike, and the same number twice bit for bit") {
  const TinyTraining tiny;
  tiny.train_well("one", kUneven);
  for (const int n : {2, 3, 4}) {
    const std::string name = std::to_string(n), again = name + "again";
    const ProcessResult result = train(tiny, n, name, kUneven);
    INFO(result.err);
    REQUIRE(result.code == 0);
    REQUIRE(count(result.out, "saved ") == 4);  // rank 0 alone speaks
    const std::vector<double> found = losses(tiny, name), expected = losses(tiny, "one");
    // Adam's first steps turn rounding into steps of full size: only then do the runs drift apart.
    CHECK(distance({found[0], found[1]}, {expected[0], expected[1]}) < 1e-5);
    CHECK(distance(found, expected) < 0.5);
    REQUIRE(train(tiny, n, again, kUneven).code == 0);
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

TEST_CASE("ranks: a run that is stopped goes on bit for bit, and with fewer ranks or more") {
  const TinyTraining tiny;
  Process stopped(ranks(tiny, 2, "run", kUneven + Words{"train.steps=1000"}), kCalm);
  stopped.wait_for("step 3/");
  stopped.send(SIGUSR1);
  const ProcessResult first = stopped.wait();
  INFO(first.err);
  REQUIRE(first.code == 75);
  REQUIRE(count(first.err, "stopped on request") == 1);
  const int64_t at = tiny.steps("run").back();
  const Words rest = kUneven + Words{"train.steps=" + std::to_string(at + 4)};
  REQUIRE(train(tiny, 2, "whole", rest).code == 0);
  for (const int n : {1, 3, 4}) {
    const std::string name = std::to_string(n);
    std::filesystem::copy(tiny / "run", tiny / name, std::filesystem::copy_options::recursive);
    const auto tenth = (tiny / name) / "ranks" / "rank-00009";  // of an earlier launch
    write_raw(tenth, "");
    const ProcessResult other = train(tiny, n, name, rest);
    INFO(other.err);
    REQUIRE(other.code == 0);
    REQUIRE(resumed_from(other) == at);
    CHECK(count(other.err, "2 ranks before, " + name + " now") == 1);
    CHECK(std::filesystem::exists(tenth) == (n == 1));
    CHECK(distance(losses(tiny, name), losses(tiny, "whole")) < 2e-3);
  }
  REQUIRE(train(tiny, 2, "run", rest).code == 0);
  CHECK(tiny.state("run", at + 4) == tiny.state("whole", at + 4));
  CHECK(tiny.history("run") == tiny.history("whole"));
}

TEST_CASE("ranks: a signal to one rank stops all at the same step") {
  const TinyTraining tiny;
  Process run(ranks(tiny, 3, "run", kUneven + Words{"train.steps=1000000"}), kCalm);
  run.wait_for("step 3/");
  const std::string where = read_raw(tiny / "run" / "ranks" / "rank-00002");  // "pid 12 on host"
  REQUIRE(::kill(std::stoi(where.substr(where.find("pid ") + 4)), SIGTERM) == 0);
  const ProcessResult result = run.wait();
  INFO(result.err);
  CHECK(result.code == 75);
  CHECK(count(result.err,
              "stopped on request at step " + std::to_string(tiny.steps("run").back())) == 1);
}

// Open MPI's own doing: it sends SIGTERM on when its patience is half over, then SIGKILL, and ends
// with 1 whatever the ranks end with.
TEST_CASE("ranks: SIGTERM to mpirun leaves a whole checkpoint") {
  const TinyTraining tiny;
  for (const std::string seconds : {"1", "3"}) {
    INFO("odls_base_sigkill_timeout " << seconds);
    Words command = ranks(tiny, 2, seconds, {"train.steps=1000000"});
    const Words patience = {"--mca", "odls_base_sigkill_timeout", seconds};
    command.insert(command.begin() + 2, patience.begin(), patience.end());
    Process run(command, kCalm);
    run.wait_for("step 3/");
    run.send(SIGTERM);
    const ProcessResult result = run.wait();
    INFO(result.err);
    CHECK(result.code == 1);
    const int64_t at = tiny.steps(seconds).back();
    CHECK(count(result.err, "stopped on request at step " + std::to_string(at)) == 1);
    const ProcessResult rest = train(tiny, 2, seconds, {"train.steps=" + std::to_string(at + 1)});
    INFO(rest.err);
    CHECK(rest.code == 0);
    CHECK(resumed_from(rest) == at);
  }
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
  SECTION("fewer images than one batch of all ranks") {
    const ProcessResult result = train(tiny, 2, "run", {"train.batch=60"});
    INFO(result.err);
    CHECK(result.code == 78);
    CHECK(count(result.err, "fewer than train.batch 60") == 1);
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
  SECTION("data that one rank cannot read") {
    write_raw(tiny / "torn.npy", read_raw(tiny / "images.npy").substr(0, 5000));
    const ProcessResult result = two({}, {"data.path=" + (tiny / "torn.npy").string()});
    INFO(result.err);
    CHECK(result.code == 65);
    CHECK_THAT(result.err, Catch::Contains("rank 1 on ") && Catch::Contains("torn.npy"));
    CHECK(count(result.err, "error: ") == 1);
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
