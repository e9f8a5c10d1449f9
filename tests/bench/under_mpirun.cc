// bigbigan-bench among processes: collectives, and the step that ranks share.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/e2e/process.h"

using namespace bigbigan;

namespace {

// What rank 0 of two prints; it alone speaks. However few the cores; the MPI library's own leaks
// are not ours.
nlohmann::json report_of_two(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = mpirun();
  for (const char* word :
       {"-np", "2", BIGBIGAN_BENCH, "--device", "cpu", "--threads", "1", "--json"}) {
    command.emplace_back(word);
  }
  command.insert(command.end(), arguments.begin(), arguments.end());
  const ProcessResult result = run_process(command, {"ASAN_OPTIONS=detect_leaks=0"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  return nlohmann::json::parse(result.out);
}

}  // namespace

TEST_CASE("bench: collectives among two processes") {
  for (const char* collective : {"all_reduce", "reduce_scatter", "all_gather"}) {
    INFO(collective);
    const auto report = report_of_two(
        {collective, "-b", "8", "-e", "1M", "-f", "64", "-n", "3", "-w", "1", "-d", "bf16"});
    CHECK(report.at("collective") == collective);
    CHECK(report.at("ranks") == 2);
    CHECK(report.at("device") == "cpu");
    CHECK(report.at("type") == "bfloat16");
    CHECK(report.at("redop") == (std::string(collective) == "all_gather" ? "none" : "sum"));
    REQUIRE(report.at("rows").size() == 3);
    for (const auto& row : report.at("rows")) {
      INFO(row.dump());
      CHECK(row.at("wrong") == 0);
      CHECK(row.at("time_us") > 0);
      const double passes = std::string(collective) == "all_reduce" ? 1 : 0.5;
      CHECK(row.at("busbw").get<double>() == Approx(passes * row.at("algbw").get<double>()));
    }
    CHECK(report.at("rows")[1].at("size") == 512);
    CHECK(report.at("rows")[1].at("count") ==
          (std::string(collective) == "all_reduce" ? 256 : 128));
  }
}

TEST_CASE("bench: a step whose batch two processes share") {
  std::vector<std::string> step = {"--step", "fmnist-32-tiny", "--ranks", "--rounds", "1"};
  for (const char* small :
       {"model.g_channels=[8,8,8,8]", "model.d_channels=[4,4,4,4]", "model.encoder_channels=[4,4]",
        "model.mlp_width=8", "model.encoder_head_width=8", "train.batch=4"}) {
    step.emplace_back(small);
  }
  const auto report = report_of_two(step);
  CHECK(report.at("ranks") == 2);
  CHECK(report.at("batch") == 4);
  CHECK(report.at("img_per_s").get<double>() ==
        Approx(4 / report.at("step_seconds_launched").get<double>()).epsilon(0.05));
}
