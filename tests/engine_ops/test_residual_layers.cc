// How many launches two layers take: what fusing them is for.
#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "engine/ops/linear.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

class Launches final : public KernelObserver {
 public:
  void begin(std::string_view launcher, std::span<const int64_t>) override {
    ++counts[std::string(launcher)];
  }
  void end() override {}

  std::map<std::string, int> counts;
};

}  // namespace

TEST_CASE("residual layers: two launches forward, four and the shortcut's backward") {
  using Counts = std::map<std::string, int>;
  constexpr int64_t kRows = 3, kWidth = 5;
  Launches launches;
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
  CHECK(launches.counts == Counts{{"gemm", 2}});
  launches.counts.clear();
  tape.seed(y, Tensor::zeros(ctx, y.shape(), DType::kF32));
  tape.backward(ctx);
  CHECK(launches.counts == Counts{{"gemm", 4}, {"scale", 1}});
}
