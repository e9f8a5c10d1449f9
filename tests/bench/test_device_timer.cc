// Timers, profiles and counters, on a device whose clock the test moves.
#include <algorithm>
#include <catch2/catch.hpp>

#include "kernels/bench/ceilings.h"
#include "kernels/bench/device_timer.h"
#include "kernels/bench/kernel_case.h"
#include "kernels/bench/kernel_profile.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

struct FakeClock {
  double now = 0;
};

class FakeTimeline final : public Timeline {
 public:
  explicit FakeTimeline(FakeClock& clock) : clock_(clock) {}
  size_t mark() override {
    marks_.push_back(clock_.now);
    return marks_.size() - 1;
  }
  double seconds(size_t from, size_t to) override { return marks_.at(to) - marks_.at(from); }
  void clear() override { marks_.clear(); }

 private:
  FakeClock& clock_;
  std::vector<double> marks_;
};

class FakeRecording final : public Recording {
 public:
  explicit FakeRecording(std::function<void()> launches) : launches_(std::move(launches)) {}
  void replay() override { launches_(); }

 private:
  std::function<void()> launches_;
};

class FakeDevice final : public Accelerator {
 public:
  [[nodiscard]] AnyExec exec() const override { return CpuExec{}; }
  Allocator& allocator() override { return host_; }
  [[nodiscard]] std::unique_ptr<Allocator> private_pool() override {
    return std::make_unique<HostAllocator>();
  }
  std::unique_ptr<Recording> record(const std::function<void()>& launches) override {
    if (refuses) fail(ExitCode::kSystem, "not that");
    ++recordings;
    return std::make_unique<FakeRecording>(launches);
  }
  [[nodiscard]] std::unique_ptr<Timeline> timeline() override {
    return std::make_unique<FakeTimeline>(clock);
  }
  [[nodiscard]] DeviceProperties properties() const override { return {"fake", "-", 100}; }
  [[nodiscard]] std::string plans() const override { return ""; }
  [[nodiscard]] bool take_over_plans(std::string_view) override { return false; }

  FakeClock clock;
  bool refuses = false;
  int recordings = 0;

 private:
  HostAllocator host_;
};

// Takes `seconds` of the device; counts its calls.
Work work_of(FakeDevice& device, double seconds, int& calls) {
  return [&device, seconds, &calls] {
    device.clock.now += seconds;
    ++calls;
  };
}

// x scaled by two, in f32 by `factor`.
KernelCase scale_kernel(double factor) {
  return {.name = "scale", .prepare = [factor](KernelSetup& s) {
            const Tensor x = s.normal({40}), y = s.fresh({40});
            const Work launch = [x, y, by = s.dtype == DType::kF32 ? factor : 2] {
              std::vector<double> values = read(x);
              for (double& v : values) v *= by;
              write(y, values);
            };
            return PreparedKernel{launch, {x, y}, {y}};
          }};
}

}  // namespace

TEST_CASE("a device timer divides replays by their calls") {
  FakeDevice device;
  device.refuses = GENERATE(false, true);
  DeviceTimer timer(device, {.replays = 3, .seconds = 0.02, .max_rounds = 64});
  int first = 0, second = 0;
  const std::vector<Work> works = {work_of(device, 0.001, first), work_of(device, 0.003, second)};
  CHECK(timer.seconds_per_call(works) == Approx(0.002));
  CHECK(device.recordings == (device.refuses ? 0 : 1));
  // Two rounds before, then a replay to warm up and three, of five rounds each.
  CHECK(first == 2 + 4 * 5);
  CHECK(second == first);
}

TEST_CASE("operands rotate over four caches") {
  FakeDevice device;
  const DeviceTimer timer(device, {.max_sets = 64});
  CHECK(timer.cold_sets(50) == 9);  // 450 bytes of a cache of 100
  CHECK(timer.cold_sets(1000) == 2);
  CHECK(timer.cold_sets(1) == 64);
}

TEST_CASE("counters are rates and shares of the ceilings") {
  const Ceilings ceilings{
      .copy_gb_per_s = 4, .matmul_f32_tflop_per_s = 2, .matmul_bf16_tflop_per_s = 8};
  const auto f32 = rates({.bytes = 6e9, .flops = 3e12}, 2.0, ceilings);
  CHECK(f32.at("GB/s") == Approx(3));
  CHECK(f32.at("%bw") == Approx(75));
  CHECK(f32.at("TFLOP/s") == Approx(1.5));
  CHECK(f32.at("%peak") == Approx(75));
  const auto bf16 = rates({.bytes = 6e9, .flops = 3e12, .dtype = DType::kBF16}, 2.0, ceilings);
  CHECK(bf16.at("%peak") == Approx(18.75));
  CHECK(rates({.bytes = 1}, 1, ceilings).count("TFLOP/s") == 0);
  CHECK(rates({.bytes = 1, .flops = 1, .dtype = DType::kBF16}, 1, {1, 1, 0}).count("%peak") == 0);
}

TEST_CASE("a profile counts inner launchers once") {
  FakeClock clock;
  FakeTimeline timeline(clock);
  Profiler profiler(timeline);
  const std::vector<int64_t> sizes = {2, 3};
  profiler.begin("outer", {});
  clock.now += 1;
  profiler.begin("inner", {.sizes = sizes});
  clock.now += 20;
  profiler.end();
  clock.now += 2;
  profiler.end();
  const KernelProfile profile = profiler.take();
  CHECK(profile.rows.at("outer").calls == 1);
  CHECK(profile.rows.at("inner").seconds == Approx(20));
  CHECK(profile.rows.at("outer").seconds == Approx(3));
  CHECK(profile.seconds() == Approx(23));
  REQUIRE(profile.calls.size() == 1);
  CHECK(profile.calls[0].launcher == "inner");
  CHECK(profile.calls[0].sizes == sizes);
  CHECK(profiler.take().rows.empty());
}

TEST_CASE("a kernel that computes something else is told from a right one") {
  HostAllocator host;
  double error = 0;
  CHECK(check_kernel(scale_kernel(2), CpuExec{}, host, DType::kF32, error).empty());
  CHECK(error < 1e-6);
  CHECK_THAT(check_kernel(scale_kernel(2.001), CpuExec{}, host, DType::kF32, error),
             Catch::StartsWith("scale [f32] result 0"));
}

TEST_CASE("operands repeat a million different values and keep their dtype's rounding") {
  HostAllocator host;
  const Context ctx{.exec = CpuExec{}, .allocator = &host};
  const int64_t tile = 1 << 20;
  const std::vector<double> long_list = read(normal_tensor(ctx, {tile + 5}, DType::kF32));
  CHECK(long_list[tile + 4] == long_list[4]);
  CHECK(long_list[4] != long_list[5]);
  const NormalValues values{.seed = 3, .deviation = 0.1, .mean = 1, .rounded_to = DType::kBF16};
  CHECK(read(normal_tensor(ctx, {7}, DType::kF64, values)) ==
        read(normal_tensor(ctx, {7}, DType::kBF16, values)));
}

TEST_CASE("small and base kernels are the same launchers") {
  const auto launchers = [](const KernelSizes& sizes) {
    std::vector<std::string> names;
    for (const KernelCase& c : kernel_cases(sizes)) {
      const std::string name = c.name.substr(0, c.name.find('/'));
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    return names;
  };
  CHECK(launchers(small_sizes()) == launchers(base_sizes()));
}
