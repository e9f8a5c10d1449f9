// The program from outside: every kernel once, what its JSON holds, and bad command lines. On an
// emulated device where the build has one.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "kernels/bench/kernel_case.h"
#include "tests/e2e/process.h"

using namespace bigbigan;
using Json = nlohmann::json;

namespace {

const std::string kDevice = BIGBIGAN_BENCH_DEVICE;

ProcessResult bench(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {BIGBIGAN_BENCH, "--device", kDevice});
  return run_process(arguments);
}

Json json_of(const ProcessResult& result) {
  INFO(result.err);
  REQUIRE(result.code == 0);
  return Json::parse(result.out);
}

std::vector<std::string> tiny_step() {
  return {"--step",
          "fmnist-32-tiny",
          "--rounds",
          "1",
          "model.g_channels=[8,8,8,8]",
          "model.d_channels=[4,4,4,4]",
          "model.encoder_channels=[4,4]",
          "model.mlp_width=8",
          "model.encoder_head_width=8",
          "train.batch=2",
          "train.d_steps=1"};
}

}  // namespace

TEST_CASE("every kernel runs, in a report whose context says where") {
  const Json report = json_of(bench({"--sizes", "small", "--benchmark_filter=-_(fwd|bwd)/",
                                     "--benchmark_min_time=0.001", "--benchmark_format=json"}));
  const Json& context = report.at("context");
  const bool is_gpu = kDevice != "cpu";
  CHECK(context.at("device") == (is_gpu ? "emulated device" : "cpu"));
  CHECK(context.at("dtypes") == (is_gpu ? "f32,bf16" : "f32"));
  CHECK(context.at("sizes") == "small");
  CHECK(context.contains("driver"));
  std::vector<std::string> ceilings = {"copy_gb_per_s", "matmul_f32_tflop_per_s"};
  if (is_gpu) ceilings.emplace_back("matmul_bf16_tflop_per_s");
  for (const std::string& ceiling : ceilings) {
    CHECK(std::stod(context.at(ceiling).get<std::string>()) > 0);
  }
  std::vector<std::string> names;
  for (const Json& line : report.at("benchmarks")) {
    names.push_back(line.at("name"));
    INFO(names.back());
    CHECK(!line.contains("error_message"));
    CHECK(line.at("real_time") > 0);
    for (const char* counter : {"GB/s", "%bw", "max_err"}) CHECK(line.contains(counter));
    CHECK(line.contains("hot_us") == is_gpu);
  }
  for (const KernelCase& c : kernel_cases(small_sizes())) {
    for (const char* dtype : {"/f32/", "/bf16/"}) {
      if (dtype == std::string("/bf16/") && !(is_gpu && c.takes_bf16)) continue;
      const auto has = [&](const std::string& name) { return name.starts_with(c.name + dtype); };
      INFO(c.name << dtype);
      CHECK(std::count_if(names.begin(), names.end(), has) == 1);
    }
  }
}

TEST_CASE("without time, every benchmark says so, and single kernels come first") {
  const Json lines =
      json_of(bench({"--sizes", "small", "--seconds", "1e-9", "--benchmark_format=json"}))
          .at("benchmarks");
  REQUIRE(lines.size() > kernel_cases(small_sizes()).size());
  for (const Json& line : lines) CHECK(line.at("error_message") == "no time left");
  const std::string first = kernel_cases(small_sizes())[0].name;
  CHECK(lines[0].at("name").get<std::string>().starts_with(first));
}

TEST_CASE("operations run forward and backward, those that read from the host, too") {
  const Json report =
      json_of(bench({"--sizes", "small",
                     "--benchmark_filter=^(relu|softmax_cross_entropy)_.*(/shape:3x31|/rows:3/)",
                     "--benchmark_min_time=0.001", "--benchmark_format=json"}));
  CHECK(report.at("benchmarks").size() == (kDevice == "cpu" ? 4 : 8));  // of both dtypes
  for (const Json& line : report.at("benchmarks")) CHECK(!line.contains("error_message"));
}

TEST_CASE("a step is one JSON object") {
  const std::string precision = kDevice == "cpu" ? "f32" : "bf16";
  std::vector<std::string> arguments = tiny_step();
  arguments.push_back("train.precision=" + precision);
  if (kDevice != "cpu") arguments.insert(arguments.begin(), "--ranks");  // NCCL, for one rank too
  arguments.insert(arguments.begin(), "--json");
  const Json step = json_of(bench(arguments));
  CHECK(step.at("preset") == "fmnist-32-tiny");
  CHECK(step.at("precision") == precision);
  CHECK(step.at("batch") == 2);
  CHECK(step.at("ranks") == 1);
  CHECK(step.at("d_steps") == 1);
  const double launched = step.at("step_seconds_launched");
  CHECK(launched > 0);
  const bool is_gpu = kDevice != "cpu";
  CHECK(step.at("step_seconds_captured").is_null() != is_gpu);
  const double seconds = is_gpu ? step.at("step_seconds_captured").get<double>() : launched;
  CHECK(step.at("img_per_s").get<double>() == Approx(2 / seconds).epsilon(0.05));
  const Json& launchers = step.at("launchers");
  CHECK(launchers.size() > 20);
  for (size_t i = 1; i < launchers.size(); ++i) {
    CHECK(launchers[i].at("seconds") <= launchers[i - 1].at("seconds"));
  }
  CHECK(std::any_of(launchers.begin(), launchers.end(), [](const Json& row) {
    return row.at("name") == "conv2d_fprop" && row.at("calls") > 10;
  }));
}

TEST_CASE("a step's prediction stands beside what a GPU takes") {
  std::vector<std::string> arguments = tiny_step();
  arguments.insert(arguments.begin(), {"--predict", "--copy-rate", "2.5"});
  const ProcessResult result = bench(arguments);
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK(result.out.find("2.5 TB/s") != std::string::npos);
  CHECK(result.out.find("spectral_norm") != std::string::npos);
  CHECK((result.out.find("measured ms") != std::string::npos) == (kDevice != "cpu"));
}

TEST_CASE("a collective of one rank is one JSON object") {
  const Json report = json_of(bench({"all_reduce", "--json", "-e", "64", "-f", "8", "-n", "2"}));
  CHECK(report.at("ranks") == 1);
  CHECK(report.at("device") == (kDevice == "cpu" ? "cpu" : "emulated device"));
  CHECK(report.at("iterations") == 2);
  REQUIRE(report.at("rows").size() == 2);
  for (const Json& row : report.at("rows")) {
    CHECK(row.at("wrong") == 0);
    CHECK(row.at("busbw").is_null());
    CHECK(row.at("algbw").is_null());
  }
}

TEST_CASE("bench: values that options do not take") {
  for (const auto& [option, value, expected] :
       std::vector<std::array<std::string, 3>>{{"--copy-rate", "0", "a number above 0"},
                                               {"--matmul-rate", "-1", "a number above 0"},
                                               {"--launch-time", "nan", "a number above 0"},
                                               {"--launch-time", "inf", "a number above 0"},
                                               {"--seconds", "3s", "a number above 0"},
                                               {"--rounds", "0", "an integer from 1 to 100000"},
                                               {"--sizes", "large", "base or small"}}) {
    const ProcessResult result = bench({"--predict", "--step", "fmnist-32-tiny", option, value});
    CHECK(result.code == 64);
    CHECK(result.err == "bigbigan-bench: error: " + option + ": is " + value + ", expected " +
                            expected + "\nbigbigan-bench --help shows what is expected\n");
  }
}

TEST_CASE("bench: bad command lines end with 64") {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"train.batch=3"},
        {"--json"},
        {"--ranks"},
        {"--predict"},
        {"--predict", "--json", "--step", "fmnist-32-tiny"},
        {"--step", "fmnist-32-tiny", "--benchmark_filter=x"},
        {"--seconds", "9", "--step", "fmnist-32-tiny"},
        {"all_reduce", "--seconds", "9"},
        {"--no-such-flag"}}) {
    INFO(arguments[0]);
    CHECK(bench(arguments).code == 64);
  }
  CHECK(run_process({BIGBIGAN_BENCH, "--device", "gpu"}).code == 64);
}
