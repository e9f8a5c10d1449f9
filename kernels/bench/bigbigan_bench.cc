// bigbigan-bench: how fast operations, kernels, training steps and collectives are on this machine.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <functional>

#include "engine/comm/device_communicator.h"
#include "engine/util/cli.h"
#include "engine/util/program.h"
#include "engine/world/world.h"
#include "kernels/bench/collective_benchmark.h"
#include "kernels/bench/kernel_benchmarks.h"
#include "kernels/bench/op_benchmarks.h"
#include "kernels/bench/step_benchmark.h"
#include "kernels/bench/step_ledger.h"
#include "train/device_of_rank.h"

namespace bigbigan {
namespace {

constexpr const char* kName = "bigbigan-bench";
constexpr double kJoinSeconds = 60;

struct Arguments {
  int64_t threads = 0, rounds = 15;
  double seconds = 0;
  std::string device = "auto", sizes, step_preset, dtype = "f32";
  bool json = false, ranks = false, predict = false;
  DeviceRates rates;
  std::vector<std::string> overrides;
  CollectiveOptions collective;
};

// Runs `body` as one of the ranks that mpirun has started, or as one alone. GPUs speak through
// NCCL, a single one too. Only here is a world joined: everything else measures one process,
// whoever has started it.
int run_ranks(const Arguments& args, const std::function<ExitCode(Communicator&, Device&)>& body) {
  const auto world = join_world();
  return run_rank(*world, kName, [&] {
    Device device(device_of_rank(*world, args.device), thread_count(args.threads));
    Communicator& host = world->communicator();
    const auto gpus = device.accelerator() == nullptr
                          ? nullptr
                          : make_nccl_communicator(host, device.exec(), kJoinSeconds);
    return static_cast<int>(body(gpus ? *gpus : host, device));
  });
}

// `comm` may be null: one process.
ExitCode bench_step(const Arguments& args, Communicator* comm, Device& device) {
  Config config;
  const auto fields = config_fields(config);
  apply_toml(fields, preset_text(args.step_preset), "preset " + args.step_preset);
  for (const std::string& override_text : args.overrides) apply_override(fields, override_text);
  if (args.predict && device.accelerator() == nullptr) {
    fmt::print("{}", describe(config, plan_step(config), args.rates, nullptr));
    return ExitCode::kOk;
  }
  const std::string name = device.properties().name;
  std::string report;
  StepTimes times;
  if (device.accelerator() != nullptr) {
    times = time_recorded_steps(config, device, args.rounds, comm);
    report = describe(config, times, name);
  } else {
    const std::vector<StepRound> rounds = time_steps(config, device, args.rounds, comm);
    times = times_of(rounds);
    report = describe(config, rounds, device.cpu().parallel->threads());
  }
  if (args.predict) {
    report += "\n" + describe(config, plan_step(config), args.rates, &times.profile);
  }
  const int ranks = rank_count(comm);
  if (ranks > 1) report = fmt::format("{} ranks; of one of them:\n", ranks) + report;
  if (args.json) report = json(args.step_preset, config, times, name, ranks);
  if (comm == nullptr || comm->rank() == 0) fmt::print("{}", report);
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
  std::string program = kName;
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
  if (args.seconds > 0) target.seconds = args.seconds;
  // In this order they run: where time is short, the small cases of the tests are left out first.
  KernelBenchmarks kernels(is_small ? small_sizes() : base_sizes(), target);
  kernels.register_all();
  std::vector<OpCase> cases = preset_cases();
  for (OpCase& c : all_cases()) {
    // Hundreds of power iterations serve finite differences.
    if (!c.name.starts_with("spectral_norm_converged")) cases.push_back(std::move(c));
  }
  OpBenchmarks operations(std::move(cases), target);
  operations.register_all();
  benchmark::RunSpecifiedBenchmarks();
  return operations.failed() || kernels.failed() ? ExitCode::kNumerical : ExitCode::kOk;
}

DType dtype_named(std::string_view name) {
  if (name == "f64") return DType::kF64;
  return name == "bf16" ? DType::kBF16 : DType::kF32;
}

ExitCode bench_collective(const Arguments& args, Communicator& comm, Device& device) {
  CollectiveOptions options = args.collective;
  options.dtype = dtype_named(args.dtype);
  const std::vector<int64_t> sizes = message_bytes(options, comm.size());
  if (sizes.empty()) {
    fail(ExitCode::kUsage, "no message of {} to {} bytes has an element for each of {} ranks",
         options.min_bytes, options.max_bytes, comm.size());
  }
  const std::string name = device.properties().name;
  const bool is_root = comm.rank() == 0;
  if (is_root && !args.json) fmt::print("{}", collective_heading(options, comm.size(), name));
  std::vector<CollectiveRow> rows;
  int64_t wrong = 0;
  for (const int64_t bytes : sizes) {
    rows.push_back(measure_collective(options, bytes, comm, device));
    wrong += rows.back().wrong;
    if (is_root && !args.json) announce(collective_line(options, rows.back(), comm.size()));
  }
  if (is_root) {
    fmt::print("{}", args.json ? collective_json(options, rows, comm.size(), name)
                               : collective_summary(options, rows, comm.size()));
    if (wrong > 0) {
      note(fmt::format("{}: error: {}: {} wrong elements", kName, options.collective, wrong));
    }
  }
  return wrong > 0 ? ExitCode::kNumerical : ExitCode::kOk;
}

void add_collectives(CLI::App& app, Arguments& args) {
  CollectiveOptions& options = args.collective;
  for (const char* name : {"all_reduce", "reduce_scatter", "all_gather"}) {
    CLI::App* command = app.add_subcommand(
        name, fmt::format("time {} among the ranks that mpirun has started, by size", name));
    command->fallthrough();
    command->callback([&options, name] { options.collective = name; });
    const auto add_size = [&](const char* names, int64_t& value, const char* help) {
      command->add_option(names, value, help)
          ->transform(CLI::AsSizeValue(false).description(""))
          ->check(CLI::Range(int64_t{1}, int64_t{1} << 36).description(""))
          ->type_name("BYTES")
          ->capture_default_str();
    };
    add_size("-b,--min-bytes", options.min_bytes, "first size, e.g. 8 or 1M");
    add_size("-e,--max-bytes", options.max_bytes, "last size");
    add_integer(*command, "-f,--factor", options.factor, "from a size to the next", 2, 1 << 20);
    add_integer(*command, "-n,--iterations", options.iterations, "calls timed, on every rank", 1,
                1 << 20);
    add_integer(*command, "-w,--warm-up", options.warm_up, "calls before", 0, 1 << 20);
    add_choice(*command, "-d,--dtype", args.dtype, "of the elements", {"f32", "f64", "bf16"});
  }
}

void add_options(CLI::App& app, Arguments& args) {
  add_integer(app, "-j,--threads", args.threads, "CPU threads; 0: all cores it may use", 0, 1024);
  add_device(app, args.device);
  add_choice(app, "--sizes", args.sizes, "of single kernels [base on a GPU, small on the CPU]",
             {"base", "small"});
  add_positive(app, "--seconds", args.seconds,
               "begin no operation or kernel after so many seconds; what is left says so")
      ->type_name("SECONDS");
  app.add_option("--step", args.step_preset, "time the training step of this preset")
      ->type_name("PRESET");
  add_integer(app, "--rounds", args.rounds, "with --step: steps to take the median of", 1, 100000);
  app.add_flag("--json", args.json, "with --step or a collective: print one JSON object");
  app.add_flag(
      "--predict", args.predict,
      "with --step: what the step moves and computes, and how long that takes at the given "
      "rates; on a GPU beside what it takes, on the CPU without running it");
  for (const auto& [option, rate, help] :
       {std::tuple{"--copy-rate", &args.rates.copy_tb_per_s, "of a copy, TB/s read and written"},
        std::tuple{"--matmul-rate", &args.rates.matmul_tflop_per_s, "of matrix products, TFLOP/s"},
        std::tuple{"--launch-time", &args.rates.launch_us, "of the smallest kernel, us"}}) {
    add_positive(app, option, *rate, fmt::format("with --predict: {}", help))
        ->capture_default_str();
  }
  app.add_flag("--ranks", args.ranks,
               "with --step: with all that ranks say to each other, among those that mpirun has "
               "started, or for one");
  app.add_option("overrides", args.overrides, "with --step: key=value")->type_name("");
  app.allow_extras();  // the flags of Google Benchmark
  app.require_subcommand(0, 1);
  add_collectives(app, args);
}

int run(int argc, char** argv) {
  Arguments args;
  CLI::App app(
      "Times every operation of the engine, forward and backward, and single kernels, after "
      "comparing them with f64; or whole training steps; or collectives.\n\nExamples:\n"
      "  bigbigan-bench --threads=2 --benchmark_filter='conv2d_.*n:64' --benchmark_min_time=0.2\n"
      "  bigbigan-bench --device cuda --benchmark_filter='^batch_norm_apply/' "
      "--benchmark_repetitions=5\n"
      "  bigbigan-bench --step fmnist-32-tiny train.batch=64\n"
      "  bigbigan-bench --step base --predict train.precision=bf16 train.batch=256 "
      "train.d_steps=1\n"
      "  mpirun -n 4 bigbigan-bench all_reduce -b 8 -e 128M\n\n"
      "All flags of Google Benchmark work, e.g. --benchmark_format=json --benchmark_list_tests.",
      kName);
  add_options(app, args);
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  const std::vector<std::string> flags = app.remaining();
  const bool of_step = !args.step_preset.empty(), of_collective = !app.get_subcommands().empty();
  if (of_collective && (of_step || !flags.empty() || !args.overrides.empty())) {
    fail(ExitCode::kUsage, "{} does not go with {}",
         of_step         ? "--step"
         : flags.empty() ? args.overrides[0]
                         : flags[0],
         args.collective.collective);
  }
  if (args.seconds > 0 && (of_step || of_collective)) {
    fail(ExitCode::kUsage, "--seconds is for operations and kernels; a step has --rounds");
  }
  if (of_collective) {
    return run_ranks(
        args, [&](auto& comm, auto& device) { return bench_collective(args, comm, device); });
  }
  if (of_step && !flags.empty()) fail(ExitCode::kUsage, "{} does not go with --step", flags[0]);
  if (!of_step && !args.overrides.empty()) {
    fail(ExitCode::kUsage,
         "unexpected argument {}: key=value goes with --step PRESET, and the commands are "
         "all_reduce, "
         "reduce_scatter and all_gather",
         args.overrides[0]);
  }
  if (args.json && !of_step) {
    fail(ExitCode::kUsage,
         "--json needs --step or a collective; operations have --benchmark_format=json");
  }
  if (args.predict && (!of_step || args.json || args.ranks)) {
    fail(ExitCode::kUsage, "--predict needs --step, and goes with neither --json nor --ranks");
  }
  if (args.ranks && !of_step) fail(ExitCode::kUsage, "--ranks needs --step");
  if (args.ranks) {
    return run_ranks(args,
                     [&](auto& comm, auto& device) { return bench_step(args, &comm, device); });
  }
  Device device(args.device, thread_count(args.threads));
  return static_cast<int>(of_step ? bench_step(args, nullptr, device)
                                  : bench_operations(args, flags, device));
}

}  // namespace
}  // namespace bigbigan

int main(int argc, char** argv) {
  return bigbigan::run_program(bigbigan::kName, [&] { return bigbigan::run(argc, argv); });
}
