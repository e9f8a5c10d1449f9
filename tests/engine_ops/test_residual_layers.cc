// How many launches two layers take: what fusing them is for.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "engine/ops/linear.h"
#include "tests/harness/launch_recorder.h"
#include "tests/harness/values.h"

using namespace bigbigan;

TEST_CASE("residual layers: two launches forward, four backward") {
  using Counts = std::map<std::string, int>;
  constexpr int64_t kRows = 3, kWidth = 5;
  LaunchRecorder launches;
  HostAllocator allocator;
  const Context ctx{.exec = CpuExec{nullptr, &launches}, .allocator = &allocator};
  Tape tape;
  const auto input = [&](const Shape& shape) {
    return tape.input(Tensor::zeros(ctx, shape, DType::kF32));
  };
  const Var x = input({kRows, kWidth}), skip = input({kRows, kWidth});
  const Var w_1 = input({kWidth, kWidth}), w_2 = input({kWidth, kWidth});
  const Var bias_1 = input({kWidth}), bias_2 = input({kWidth});
  const Var y = residual_layers(ctx.with_tape(&tape), x, w_1, bias_1, w_2, bias_2, skip);
  CHECK(launches.counts() == Counts{{"gemm", 2}});
  launches.names.clear();
  tape.seed(y, Tensor::zeros(ctx, y.shape(), DType::kF32));
  tape.backward(ctx);
  CHECK(launches.counts() == Counts{{"gemm", 4}});
}

TEST_CASE("residual layers: a NaN between the layers reaches the output") {
  constexpr int64_t kRows = 2, kWidth = 3;
  HostAllocator allocator;
  const Context ctx{.exec = CpuExec{}, .allocator = &allocator};
  const auto ones = [&](const Shape& shape) {
    return Tensor::from_host(ctx, shape, DType::kF32,
                             std::vector<float>(shape.elems(), 1.0f).data());
  };
  const Tensor bias = Tensor::zeros(ctx, {kWidth}, DType::kF32);
  bias.slice(1, 2).set_item(std::numeric_limits<float>::quiet_NaN());
  const Var y = residual_layers(ctx, ones({kRows, kWidth}), ones({kWidth, kWidth}), Tensor(bias),
                                ones({kWidth, kWidth}), ones({kWidth}), ones({kRows, kWidth}));
  for (const float value : y.value.to_vector<float>()) CHECK(std::isnan(value));
}
