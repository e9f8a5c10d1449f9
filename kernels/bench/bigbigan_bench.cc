// bigbigan-bench: how fast operations and training steps are on this machine.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "engine/util/program.h"
#include "engine/util/thread_pool.h"
#include "kernels/bench/op_benchmarks.h"
#include "kernels/bench/step_benchmark.h"

namespace bigbigan {
namespace {

struct Arguments {
  int threads = 0, rounds = 15;
  std::string step_preset;
  std::vector<std::string> overrides;
};

ExitCode bench_step(const Arguments& args, const CpuExec& exec) {
  Config config;
  const auto fields = config_fields(config);
  apply_toml(fields, preset_text(args.step_preset), "preset " + args.step_preset);
  for (const std::string& override_text : args.overrides) apply_override(fields, override_text);
  fmt::print("{}",
             describe(config, time_steps(config, exec, args.rounds), exec.parallel->threads()));
  return ExitCode::kOk;
}

ExitCode bench_operations(std::vector<std::string> flags, const CpuExec& exec) {
  std::vector<char*> argv;
  std::string program = "bigbigan-bench";
  argv.push_back(program.data());
  for (std::string& flag : flags) argv.push_back(flag.data());
  int argc = static_cast<int>(argv.size());
  benchmark::Initialize(&argc, argv.data());
  if (benchmark::ReportUnrecognizedArguments(argc, argv.data())) return ExitCode::kUsage;
  const Ceilings ceilings = measure_ceilings(exec);
  add_context(ceilings, exec.parallel->threads());
  std::vector<OpCase> cases = preset_cases();
  for (OpCase& c : all_cases()) cases.push_back(std::move(c));
  OpBenchmarks benchmarks(std::move(cases), exec, ceilings);
  benchmarks.register_all();
  benchmark::RunSpecifiedBenchmarks();
  return benchmarks.failed() ? ExitCode::kNumerical : ExitCode::kOk;
}

int run(int argc, char** argv) {
  Arguments args;
  CLI::App app(
      "Times every operation of the engine, forward and backward, after comparing it with f64; or "
      "whole "
      "training steps.\n\nExamples:\n"
      "  bigbigan-bench --threads=2 --benchmark_filter='conv2d_.*n:64' --benchmark_min_time=0.2\n"
      "  bigbigan-bench --step fmnist-32-tiny train.batch=64\n\n"
      "All flags of Google Benchmark work, e.g. --benchmark_format=json --benchmark_list_tests.");
  app.add_option("--threads", args.threads, "CPU threads; 0: the cores this process may use");
  app.add_option("--step", args.step_preset, "time the training step of this preset");
  app.add_option("--rounds", args.rounds, "with --step: steps to take the median of")
      ->check(CLI::Range(1, 100000));
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
  ThreadPool pool(thread_count(args.threads));
  const CpuExec exec{&pool};
  return static_cast<int>(of_step ? bench_step(args, exec) : bench_operations(flags, exec));
}

}  // namespace
}  // namespace bigbigan

int main(int argc, char** argv) {
  return bigbigan::run_program("bigbigan-bench", [&] { return bigbigan::run(argc, argv); });
}
