// However a run is interrupted, it ends as if it had not been.
#include <catch2/catch.hpp>
#include <csignal>
#include <random>
#include <thread>

#include "tests/e2e/tiny_training.h"

using namespace bigbigan;

namespace {

constexpr int64_t kSteps = 8;

void require_same_end(const TinyTraining& tiny, const std::string& name, int64_t steps = kSteps) {
  REQUIRE(tiny.state(name, steps) == tiny.state("reference", steps));
  REQUIRE(tiny.history(name) == tiny.history("reference"));
}

}  // namespace

TEST_CASE(
    "resume: killed at random instants, nothing is lost and the end is the same bit for bit") {
  const TinyTraining tiny;
  const std::vector<std::string> often = {"checkpoint.every_steps=1"};
  const auto start = std::chrono::steady_clock::now();
  tiny.train_well("reference", often);
  const auto whole = std::chrono::steady_clock::now() - start;
  std::mt19937 random(std::random_device{}());
  int kills = 0;
  for (int round = 0; kills < 50; ++round) {
    REQUIRE(round < 500);
    const std::string name = "run-" + std::to_string(round);
    const auto delay = whole * (random() % 1000) / 1000;
    ProcessResult result;
    {
      Process process(tiny.arguments(name, often));
      std::this_thread::sleep_for(delay);
      process.send(SIGKILL);
      result = process.wait();
    }
    if (result.signal == SIGKILL) ++kills;
    INFO("killed after " << std::chrono::duration<double>(delay).count() << " s: " << result.out);
    const ProcessResult rest = tiny.train(name, often);
    INFO(rest.err);
    REQUIRE(rest.code == 0);
    REQUIRE(resumed_from(rest) >= last_saved(result));
    require_same_end(tiny, name);
    std::filesystem::remove_all(tiny / name);
  }
}

TEST_CASE("resume: killed between any two parts of a step") {
  const TinyTraining tiny;
  tiny.train_well("reference");
  for (const int step : {1, 4}) {
    for (const int point : {1, 2, 3, 4}) {
      if (step == 1 && point > 2) continue;  // no checkpoint there
      const std::string name = std::to_string(step) + "-" + std::to_string(point);
      const std::string fault =
          "BIGBIGAN_FAULT=kill@0:" + std::to_string(step) + ":" + std::to_string(point);
      const ProcessResult killed = tiny.train(name, {}, {fault});
      INFO(fault << "\n" << killed.err);
      REQUIRE(killed.signal == SIGKILL);
      REQUIRE_THAT(killed.err, Catch::Contains("fault injection is on"));
      const ProcessResult rest = tiny.train(name);
      REQUIRE(rest.code == 0);
      REQUIRE(resumed_from(rest) == (step == 1 ? 0 : point == 4 ? 4 : 2));
      require_same_end(tiny, name);
    }
  }
}

TEST_CASE("resume: stopped after any step, with any number of threads") {
  const TinyTraining tiny;
  tiny.train_well("reference");
  for (int64_t step = 1; step <= 6; ++step) {
    const std::string name = std::to_string(step);
    tiny.train_well(name, {"train.steps=" + std::to_string(step)});
    REQUIRE(tiny.steps(name).back() == step);
    // Threads change nothing, but they stand in the state: end as the reference was configured.
    tiny.train_well(name, {"train.steps=7", "train.threads=" + std::to_string(1 + step % 4)});
    tiny.train_well(name);
    require_same_end(tiny, name);
  }
}

TEST_CASE("resume: in bf16 and with micro-batches too, and not with others") {
  const std::string key = GENERATE("train.precision", "train.micro_batches");
  const TinyTraining tiny;
  const std::string setting = key + (key == "train.precision" ? "=bf16" : "=2");
  tiny.train_well("reference", {setting});
  tiny.train_well("run", {setting, "train.steps=3"});
  const ProcessResult other = tiny.train("run");
  REQUIRE(other.code == 78);
  REQUIRE_THAT(other.err, Catch::Contains(key));
  tiny.train_well("run", {setting});
  require_same_end(tiny, "run");
}

TEST_CASE("resume: a run that has ended stays as it is") {
  const TinyTraining tiny;
  tiny.train_well("reference");
  const std::string before = tiny.state("reference", kSteps) + tiny.history("reference");
  tiny.train_well("reference");
  REQUIRE(tiny.state("reference", kSteps) + tiny.history("reference") == before);
}

TEST_CASE("resume: without a configuration, the run's own is taken") {
  const TinyTraining tiny;
  tiny.train_well("reference");
  tiny.train_well("run", {"train.steps=3"});
  const ProcessResult rest =
      run_process({trainer(), "--resume", tiny / "run", "train.steps=" + std::to_string(kSteps)});
  INFO(rest.err);
  REQUIRE(rest.code == 0);
  REQUIRE(resumed_from(rest) == 3);
  require_same_end(tiny, "run");
}

TEST_CASE("a run starts from the weights of another run, or of a file, and with a new optimiser") {
  const TinyTraining tiny;
  tiny.train_well("reference");
  const std::filesystem::path reference = tiny / "reference";
  const std::string last = "step-0000000" + std::to_string(kSteps);
  const auto history_from = [&](const std::string& name, const std::filesystem::path& weights) {
    tiny.train_well(name, {"--init-from", weights, "train.steps=2"});
    return tiny.history(name);
  };
  const std::string from_run = history_from("run", reference);
  REQUIRE(history_from("checkpoint", reference / last) == from_run);
  REQUIRE(history_from("file", reference / last / "model.safetensors") == from_run);
  tiny.train_well("afresh", {"train.steps=2"});
  REQUIRE(tiny.history("afresh") != from_run);
}

TEST_CASE("resume: a stop signal saves, exits with 75, and the run ends the same") {
  const TinyTraining tiny;
  int64_t stopped_at[3] = {};
  int i = 0;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    const std::string name = std::to_string(signal);
    Process process(tiny.arguments(name, {"train.steps=100000"}));
    process.wait_for("step-00000002");
    process.send(signal);
    if (signal == SIGINT) process.send(signal);  // twice: a second request changes nothing
    const ProcessResult result = process.wait();
    INFO(result.err);
    REQUIRE(result.code == 75);
    stopped_at[i] = tiny.steps(name).back();
    REQUIRE(last_saved(result) == stopped_at[i]);
    const std::string step = std::to_string(stopped_at[i]);
    REQUIRE_THAT(result.err, Catch::Contains("stopped on request at step " + step));
    ++i;
  }
  const int64_t end = *std::max_element(stopped_at, stopped_at + 3) + 1;
  const std::string steps = "train.steps=" + std::to_string(end);
  tiny.train_well("reference", {steps});
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    tiny.train_well(std::to_string(signal), {steps});
    require_same_end(tiny, std::to_string(signal), end);
  }
}

TEST_CASE("resume: a stop signal before the first step leaves a run that can be continued") {
  const TinyTraining tiny;
  tiny.train_well("reference");
  Process process(tiny.arguments("run"));
  process.wait_for("run ");
  process.send(SIGTERM);
  const ProcessResult result = process.wait();
  // The signal can come late: then the run is further, or at its end.
  REQUIRE((result.code == 75 || result.code == 0));
  tiny.train_well("run");
  require_same_end(tiny, "run");
}

TEST_CASE("resume: SIGUSR2 tells how far the run is, and it goes on") {
  const TinyTraining tiny;
  Process process(tiny.arguments("run", {"train.steps=100000"}));
  process.wait_for("step-00000002");
  process.send(SIGUSR2);
  process.wait_for("last checkpoint at step");
  process.send(SIGTERM);
  REQUIRE(process.wait().code == 75);
}

TEST_CASE("resume: a second trainer on the same run is refused and the first goes on") {
  const TinyTraining tiny;
  Process first(tiny.arguments("run", {"train.steps=100000"}));
  first.wait_for("step-00000002");
  const ProcessResult second = tiny.train("run");
  REQUIRE(second.code == 73);
  REQUIRE_THAT(second.err, Catch::Contains("pid " + std::to_string(first.pid())));
  REQUIRE(run_process({trainer(), "--config", tiny / "tiny.toml", "--data", tiny / "images.npy",
                       "--run-dir", tiny / "run"})
              .code == 73);
  first.send(SIGTERM);
  REQUIRE(first.wait().code == 75);
  // Without a trainer, the directory still holds a run.
  const ProcessResult third =
      run_process({trainer(), "--config", tiny / "tiny.toml", "--run-dir", tiny / "run"});
  REQUIRE(third.code == 73);
  REQUIRE_THAT(third.err, Catch::Contains("--resume"));
}
