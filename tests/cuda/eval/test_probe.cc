// The linear probe whose losses are computed on CUDA, against the host.
#include <catch2/catch.hpp>
#include <cmath>

#include "engine/core/device.h"
#include "eval/device_loss.h"

using namespace bigbigan;

namespace {

constexpr int64_t kClasses = 5, kDims = 7, kRows = 240;

// Classes apart by a direction each, and noise that makes some rows belong to another.
LabelledFeatures noisy_data(int64_t rows, double step) {
  LabelledFeatures data{Matrix(rows, kDims), Labels(rows)};
  for (int64_t i = 0; i < rows; ++i) {
    data.labels[i] = i % kClasses;
    for (int64_t j = 0; j < kDims; ++j) {
      const double noise = std::sin(step * static_cast<double>((i * kDims + j) * (i + 3) % 10007));
      data.x.row(i)[j] = static_cast<float>(2 * noise + (j == data.labels[i] ? 1.5 : 0));
    }
  }
  return data;
}

ProbeResult probe_on(const char* name) {
  Device device(name, 1);
  const Context ctx{.exec = device.exec(), .allocator = &device.allocator()};
  const ProbeResult result =
      probe(device.cpu(), ctx, noisy_data(kRows, 0.7), noisy_data(200, 0.3), kClasses);
  const int64_t bytes = kRows * kDims * static_cast<int64_t>(sizeof(float));
  const bool held_features = device.allocator().ledger().peak_total >= bytes;
  REQUIRE(held_features == (device.accelerator() != nullptr));
  return result;
}

}  // namespace

TEST_CASE("CUDA probe: the host's loss and gradient") {
  const LabelledFeatures data = noisy_data(77, 0.7);
  LinearClassifier at(kClasses, kDims), expected, found;
  for (size_t i = 0; i < at.weight.size(); ++i) at.weight[i] = std::cos(static_cast<double>(i));
  for (size_t k = 0; k < at.bias.size(); ++k) at.bias[k] = std::sin(static_cast<double>(k));
  Device device("cuda", 1);
  const Context ctx{.exec = device.exec(), .allocator = &device.allocator()};
  const double loss = device_loss(ctx, data, kClasses)(at, found);
  REQUIRE(loss == Approx(data_loss(CpuExec{}, data, at, expected)).epsilon(1e-5));
  for (size_t i = 0; i < at.weight.size(); ++i)
    REQUIRE(found.weight[i] == Approx(expected.weight[i]).margin(1e-5));
  for (size_t k = 0; k < at.bias.size(); ++k)
    REQUIRE(found.bias[k] == Approx(expected.bias[k]).margin(1e-5));
}

TEST_CASE("CUDA probe: the host's accuracy") {
  const ProbeResult cuda = probe_on("cuda"), cpu = probe_on("cpu");
  REQUIRE(cpu.accuracy.top1 > 0.4);
  REQUIRE(cpu.accuracy.top1 < 0.98);
  REQUIRE(std::abs(cuda.accuracy.top1 - cpu.accuracy.top1) <= 0.001);
  REQUIRE(cuda.l2 == cpu.l2);
}
