// What a training step is predicted to do: what it does when it runs, and what it should.
#include "kernels/bench/step_ledger.h"

#include <catch2/catch.hpp>

#include "kernels/bench/synthetic_training.h"

using namespace bigbigan;
using Catch::Matchers::Contains;

namespace {

Config config_of(const char* preset, int64_t batch, const char* precision) {
  Config config;
  apply_toml(config_fields(config), preset_text(preset), "preset");
  config.train.batch = batch;
  config.train.d_steps = 1;
  config.train.precision = precision;
  return config;
}

// The launches of a step that runs.
class Launches final : public KernelObserver {
 public:
  void begin(std::string_view launcher, const LaunchWork& work) override {
    launches.push_back({.launcher = std::string(launcher),
                        .bytes = static_cast<double>(work.bytes),
                        .flops = work.flops});
  }
  void end() override {}

  std::vector<PlannedLaunch> launches;
};

LedgerRow sum_of(const Ledger& ledger) {
  LedgerRow sum;
  for (const auto& [name, row] : ledger) {
    sum.launches += row.launches;
    sum.gigabytes += row.gigabytes;
    sum.teraflops += row.teraflops;
    sum.d_seconds += row.d_seconds;
    sum.eg_seconds += row.eg_seconds;
  }
  return sum;
}

}  // namespace

TEST_CASE("ledger: a step is planned as it runs, launch by launch") {
  Config config = config_of("fmnist-32-tiny", 2, "f32");
  config.model.g_channels = {8, 8, 8, 8};
  config.model.d_channels = {4, 4, 4, 4};
  config.model.encoder_channels = {4, 4};
  config.model.mlp_width = config.model.encoder_head_width = 8;
  Device device("cpu", 1);
  SyntheticTraining training(config, device);
  Launches run;
  training.run(&run);
  std::vector<PlannedLaunch> planned = plan_step(config);
  // CUDA's passes behind convolutions: the CPU has none.
  std::erase_if(planned, [](const PlannedLaunch& launch) {
    return launch.launcher.starts_with("conv2d_finish");
  });
  REQUIRE(planned.size() == run.launches.size());
  for (size_t i = 0; i < planned.size(); ++i) {
    INFO(i << ": " << planned[i].launcher);
    CHECK(planned[i].launcher == run.launches[i].launcher);
    CHECK(planned[i].flops == run.launches[i].flops);
    CHECK(planned[i].bytes == run.launches[i].bytes);
    CHECK(planned[i].bytes > 0);
  }
}

TEST_CASE("ledger: a launch takes the time of its bytes, its products, or of any launch") {
  const DeviceRates rates{.copy_tb_per_s = 2, .matmul_tflop_per_s = 500, .launch_us = 3};
  const auto seconds = [&](double bytes, double flops) {
    return PlannedLaunch{.launcher = "gemm", .bytes = bytes, .flops = flops}.seconds(rates);
  };
  CHECK(seconds(4e9, 1e9) == Approx(2e-3));
  CHECK(seconds(4e9, 5e12) == Approx(1e-2));
  CHECK(seconds(10, 10) == Approx(3e-6));
  const std::vector<PlannedLaunch> launches = {{"conv2d_fprop", true, 2e9, 0},
                                               {"conv2d_fprop", false, 4e9, 1e12},
                                               {"conv2d_finish", false, 2e9, 0}};
  const LedgerRow row = ledger_by_launcher(launches, rates).at("conv2d_fprop");
  CHECK(row.launches == 2);
  CHECK(row.gigabytes == Approx(6));
  CHECK(row.d_seconds == Approx(1e-3));
  CHECK(row.eg_seconds == Approx(2e-3));
  CHECK(ledger_by_family(launches, rates).at("between them").seconds() == Approx(1e-3));
}

// docs/performance.md: a pass over activations that comes in, or goes, changes these.
TEST_CASE("ledger: what a step of `base` moves and computes") {
  const Config config = config_of("base", 256, "bf16");
  const std::vector<PlannedLaunch> launches = plan_step(config);
  const Ledger families = ledger_by_family(launches, {});
  CHECK(sum_of(families).teraflops == Approx(62.4).epsilon(0.002));
  CHECK(families.at("convolutions").gigabytes == Approx(88.0).epsilon(0.002));
  CHECK(families.at("between them").gigabytes == Approx(89.2).epsilon(0.002));
  CHECK(families.at("weights").gigabytes == Approx(22.8).epsilon(0.002));
  CHECK(sum_of(families).launches == 1678);
  CHECK_THAT(describe(config, launches, {}, nullptr),
             Contains("img/s") && Contains("batch_norm_backward_x") && Contains("conv2d_finish"));
}
