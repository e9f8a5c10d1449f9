// bigbigan-bench: what it runs and reports; never how long it takes.
#include <benchmark/benchmark.h>

#include <catch2/catch.hpp>
#include <map>
#include <sstream>

#include "kernels/bench/kernel_benchmarks.h"
#include "kernels/bench/op_benchmarks.h"
#include "kernels/bench/step_benchmark.h"
#include "kernels/common/dispatch.h"
#include "models/bigbigan/bigbigan.h"
#include "tests/harness/builders.h"

using namespace bigbigan;
using Catch::Matchers::Contains;

namespace {

// Twice x in f64, a little more in f32.
OpCase wrong_case() {
  return unary_case("wrong", {3, 5}, [](const Context& ctx, const Var& x) {
    const Tensor y = Tensor::empty(ctx, x.shape(), x.dtype());
    dispatch_real("wrong", x.dtype(), [&]<class T>(TypeTag<T>) {
      const T factor = std::is_same_v<T, float> ? T(2.001) : T(2);
      for (int64_t i = 0; i < y.elems(); ++i) y.as<T>()[i] = factor * x.value.as<T>()[i];
    });
    return Var(y);
  });
}

OpCase right_case() {
  OpCase c = unary_case("right", {3, 5}, [](const Context&, const Var& x) { return x; });
  c.flops = 15;
  return c;
}

// Runs the registered benchmarks and returns their report as JSON.
std::string run_registered() {
  benchmark::JSONReporter reporter;
  std::ostringstream out, errors;
  reporter.SetOutputStream(&out);
  reporter.SetErrorStream(&errors);
  benchmark::RunSpecifiedBenchmarks(&reporter);
  benchmark::ClearRegisteredBenchmarks();
  return out.str();
}

Config small_config() {
  Config config;
  apply_toml(config_fields(config), preset_text("fmnist-32-tiny"), "preset");
  config.model.g_channels = {8, 8, 8, 8};
  config.model.d_channels = {4, 4, 4, 4};
  config.model.encoder_channels = {4, 4};
  config.model.mlp_width = config.model.encoder_head_width = 8;
  config.train.batch = 2;
  return config;
}

}  // namespace

TEST_CASE("a benchmark is named after its case, pass and dtype") {
  CHECK(benchmark_name("conv2d/n:1/c:3", "fwd", DType::kF32) == "conv2d_fwd/n:1/c:3/f32");
  CHECK(benchmark_name("plain", "bwd", DType::kBF16) == "plain_bwd/bf16");
}

TEST_CASE("an operation is compared before it is timed") {
  Device device("cpu", 1);
  const BenchTarget target{.device = device, .ceilings = {1, 1}};
  OpBenchmarks benchmarks({right_case(), wrong_case()}, target);
  benchmarks.register_all();
  const std::string report = run_registered();
  CHECK(benchmarks.failed());
  CHECK_THAT(report, Contains("right_fwd/shape:3x5/f32") && Contains("\"TFLOP/s\"") &&
                         Contains("\"%bw\"") && Contains("\"max_err\""));
  CHECK_THAT(report, Contains("\"error_message\": \"wrong/shape:3x5 [forward f32]"));
}

TEST_CASE("correct operations do not fail") {
  Device device("cpu", 1);
  const BenchTarget target{.device = device, .ceilings = {1, 1}};
  OpBenchmarks benchmarks({right_case()}, target);
  benchmarks.register_all();
  CHECK_THAT(run_registered(), !Contains("error_message"));
  CHECK(!benchmarks.failed());
}

TEST_CASE("every operation runs in bf16") {
  HostAllocator host;
  const Context ctx{.exec = CpuExec{}, .allocator = &host, .dtype = DType::kBF16};
  for (const OpCase& c : all_cases()) {
    INFO(c.name);
    OpRun op(ctx, c);
    CHECK_NOTHROW(op.forward());
    CHECK_NOTHROW(op.backward([] {}));
  }
}

TEST_CASE("an operation moves activations of its dtype and gradients of weights in f32") {
  const int64_t n = 3, in = 5, out = 7, activations = n * (in + out), weights = out * (in + 1);
  const OpCase c = linear_case(n, in, out, true);
  HostAllocator host;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const OpRun op({.exec = CpuExec{}, .allocator = &host, .dtype = dtype}, c);
    const auto size = static_cast<int64_t>(size_of(dtype));
    CHECK(op.bytes(false) == size * (activations + weights));
    CHECK(op.bytes(true) == size * activations + 4 * weights);
  }
}

TEST_CASE("kernels move the bytes that any implementation must move") {
  HostAllocator host;
  KernelSetup setup({.exec = CpuExec{}, .allocator = &host}, DType::kF32, DType::kF32);
  std::map<std::string, int64_t> bytes;
  for (const KernelCase& c : kernel_cases(small_sizes())) {
    for (const Tensor& t : c.prepare(setup).moved) bytes[c.name] += t.view().bytes();
  }
  int64_t count = 0, weights = 0;
  const BigBiGAN model(small_sizes().model);
  for (const ParamStore::Entry& entry : model.d_store.entries()) {
    if (!entry.normalized) continue;
    ++count;
    weights += entry.shape.elems();
  }
  const std::string update =
      "optimizer_update/elems:" + std::to_string(weights) + "/normalized:" + std::to_string(count);
  CHECK(bytes.at(update) == 36 * weights);
  CHECK(bytes.at(update + "/packed:bf16") == 38 * weights);
  const int64_t queries = 12, references = 130, columns = 16, k = 50;
  CHECK(bytes.at("l1_distances/queries:12/references:130/columns:16") ==
        4 * (queries * columns + references * columns + queries * references));
  CHECK(bytes.at("update_nearest/queries:12/references:130/k:50") ==
        4 * (queries * references + references) + (4 + 4) * queries * k);
}

TEST_CASE("a step's convolutions and products are run again alone") {
  Device device("cpu", 2);
  const Config config = small_config();
  const auto rounds = time_steps(config, device, 2);
  REQUIRE(rounds.size() == 2);
  for (const StepRound& round : rounds) {
    const auto &step = round.step.profile, &alone = round.alone.profile;
    CHECK(step.calls.size() > 50);
    CHECK(alone.calls.size() == step.calls.size());
    for (size_t i = 0; i < step.calls.size(); ++i) {
      CHECK(alone.calls[i].launcher == step.calls[i].launcher);
      CHECK(alone.calls[i].sizes == step.calls[i].sizes);
    }
    CHECK(alone.rows.size() == 4);  // three passes of convolutions, and gemm
    for (const char* launcher : {"conv2d_wgrad", "batch_norm_apply", "spectral_norm",
                                 "optimizer_update", "random_normal", "ema_update"}) {
      INFO(launcher);
      CHECK(step.rows.count(launcher) == 1);
    }
  }
  CHECK_THAT(describe(config, rounds, 2),
             Contains("alone / step") && Contains("conv2d_dgrad") && Contains("outside launchers"));
}
