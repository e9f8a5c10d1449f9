// bigbigan-bench: how fast operations, kernels and training steps are on this machine.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "engine/util/cli.h"
#include "engine/util/program.h"
#include "kernels/bench/kernel_benchmarks.h"
#include "kernels/bench/op_benchmarks.h"
#include "kernels/bench/step_benchmark.h"

namespace bigbigan {
namespace {

struct Arguments {
  int threads = 0, rounds = 15;
  std::string device = "auto", sizes, step_preset;
  bool json = false;
  std::vector<std::string> overrides;
};

ExitCode bench_step(const Arguments& args, Device& device) {
  Config config;
  const auto fields = config_fields(config);
  apply_toml(fields, preset_text(args.step_preset), "preset " + args.step_preset);
  for (const std::string& override_text : args.overrides) apply_override(fields, override_text);
  const std::string name = device.properties().name;
  std::string report;
  StepTimes times;
  if (device.accelerator() != nullptr) {
    times = time_recorded_steps(config, device, args.rounds);
    report = describe(config, times, name);
  } else {
    const std::vector<StepRound> rounds = time_steps(config, device, args.rounds);
    times = times_of(rounds);
    report = describe(config, rounds, device.cpu().parallel->threads());
  }
  fmt::print("{}", args.json ? json(args.step_preset, config, times, name) : report);
  return ExitCode::kOk;
}

void add_context(const BenchTarget& target, const std::string& sizes) {
  const DeviceProperties properties = target.device.properties();
  const Ceilings& c = target.ceilings;
  const auto add = [](const char* key, const std::string& value) {
    benchmark::AddCustomContext(key, value);
  };
  add("bigbigan_build_type", BIGBIGAN_BUILD_TYPE);
  add("bigbigan_cpu_arch", BIGBIGAN_CPU_ARCH);
  add("device", properties.name);
  add("driver", properties.driver);
  add("threads", std::to_string(target.device.cpu().parallel->threads()));
  add("dtypes", target.is_gpu() ? "f32,bf16" : "f32");
  add("sizes", sizes);
  add("copy_gb_per_s", fmt::format("{:.4g}", c.copy_gb_per_s));
  add("matmul_f32_tflop_per_s", fmt::format("{:.4g}", c.matmul_f32_tflop_per_s));
  if (c.matmul_bf16_tflop_per_s > 0) {
    add("matmul_bf16_tflop_per_s", fmt::format("{:.4g}", c.matmul_bf16_tflop_per_s));
  }
}

ExitCode bench_operations(const Arguments& args, std::vector<std::string> flags, Device& device) {
  std::vector<char*> argv;
  std::string program = "bigbigan-bench";
  argv.push_back(program.data());
  for (std::string& flag : flags) argv.push_back(flag.data());
  int argc = static_cast<int>(argv.size());
  benchmark::Initialize(&argc, argv.data());
  if (benchmark::ReportUnrecognizedArguments(argc, argv.data())) return ExitCode::kUsage;
  const bool is_gpu = device.accelerator() != nullptr;
  const bool is_small = args.sizes.empty() ? !is_gpu : args.sizes == "small";
  std::optional<DeviceTimer> timer;
  BenchTarget target{.device = device};
  if (is_gpu) {
    timer.emplace(*device.accelerator(), is_small ? kQuickTimer : TimerOptions());
    target.timer = &*timer;
    target.ceilings =
        measure_ceilings(*device.accelerator(), *timer, is_small ? kSmallCeilings : CeilingSizes());
  } else {
    target.ceilings = measure_ceilings(device.cpu());
  }
  add_context(target, is_small ? "small" : "base");
  std::vector<OpCase> cases = preset_cases();
  for (OpCase& c : all_cases()) cases.push_back(std::move(c));
  OpBenchmarks operations(std::move(cases), target);
  operations.register_all();
  KernelBenchmarks kernels(is_small ? small_sizes() : base_sizes(), target);
  kernels.register_all();
  benchmark::RunSpecifiedBenchmarks();
  return operations.failed() || kernels.failed() ? ExitCode::kNumerical : ExitCode::kOk;
}

int run(int argc, char** argv) {
  Arguments args;
  CLI::App app(
      "Times every operation of the engine, forward and backward, and single kernels, after "
      "comparing them with f64; or whole training steps.\n\nExamples:\n"
      "  bigbigan-bench --threads=2 --benchmark_filter='conv2d_.*n:64' --benchmark_min_time=0.2\n"
      "  bigbigan-bench --device cuda --benchmark_filter='^batch_norm_apply/' "
      "--benchmark_repetitions=5\n"
      "  bigbigan-bench --step fmnist-32-tiny train.batch=64\n\n"
      "All flags of Google Benchmark work, e.g. --benchmark_format=json --benchmark_list_tests.");
  app.add_option("--threads", args.threads, "CPU threads; 0: the cores this process may use");
  add_device(app, args.device);
  app.add_option("--sizes", args.sizes,
                 "sizes of single kernels: base (default on a GPU) or small (default on the CPU)")
      ->check(CLI::IsMember({"base", "small"}));
  app.add_option("--step", args.step_preset, "time the training step of this preset");
  app.add_option("--rounds", args.rounds, "with --step: steps to take the median of")
      ->check(CLI::Range(1, 100000));
  app.add_flag("--json", args.json, "with --step: print one JSON object");
  app.add_option("overrides", args.overrides, "with --step: key=value");
  app.set_version_flag("--version", "bigbigan " BIGBIGAN_VERSION);
  app.allow_extras();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(ExitCode::kUsage);
  }
  const std::vector<std::string> flags = app.remaining();
  const bool of_step = !args.step_preset.empty();
  if (of_step ? !flags.empty() : !args.overrides.empty()) {
    fail(ExitCode::kUsage, "{} {} --step", of_step ? flags[0] : args.overrides[0],
         of_step ? "does not go with" : "needs");
  }
  if (args.json && !of_step) {
    fail(ExitCode::kUsage, "--json needs --step; operations have --benchmark_format=json");
  }
  Device device(args.device, thread_count(args.threads));
  return static_cast<int>(of_step ? bench_step(args, device)
                                  : bench_operations(args, flags, device));
}

}  // namespace
}  // namespace bigbigan

int main(int argc, char** argv) {
  return bigbigan::run_program("bigbigan-bench", [&] { return bigbigan::run(argc, argv); });
}
