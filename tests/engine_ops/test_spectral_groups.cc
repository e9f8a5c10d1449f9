// Spectral norm of many weights: how they share nodes of the tape changes no bit.
#include <catch2/catch.hpp>
#include <string>

#include "engine/ops/linear.h"
#include "engine/ops/norm.h"
#include "tests/harness/launch_recorder.h"
#include "tests/harness/op_case.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

const std::vector<Shape> kWeights = {{4, 6}, {33, 3, 3, 5}, {1, 40}, {6, 6}, {6, 6}};

std::vector<double> numbers(uint64_t seed, int64_t elems) {
  std::mt19937_64 random(seed);
  std::vector<double> values(elems);
  for (double& v : values) v = static_cast<float>(0.3 * standard_normal(random));
  return values;
}

struct Result {
  std::vector<std::vector<double>> outputs, gradients;
  size_t nodes = 0;
  int64_t forward_launches = 0, backward_launches = 0;
};

// One pass in which gradients come to all outputs but the third.
Result run(DType dtype, DType output, int64_t group_bytes, bool accumulate) {
  HostAllocator allocator;
  LaunchRecorder launches;
  const Context ctx{.exec = CpuExec{.observer = &launches},
                    .allocator = &allocator,
                    .dtype = dtype,
                    .power_iteration = true};
  Tape tape;
  std::vector<Var> weights;
  std::vector<Tensor> u, gradients;
  for (size_t i = 0; i < kWeights.size(); ++i) {
    const Shape& shape = kWeights[i];
    gradients.push_back(tensor_of(ctx, shape, dtype, numbers(100 + i, shape.elems())));
    weights.push_back(tape.leaf(tensor_of(ctx, shape, dtype, numbers(i, shape.elems())),
                                gradients[i].view(), accumulate));
    u.push_back(tensor_of(ctx, {shape[0]}, dtype, numbers(200 + i, shape[0])));
  }
  const std::vector<DType> dtypes(kWeights.size(), output);
  const std::vector<Var> outputs =
      spectral_norm(ctx.with_tape(&tape), weights, u, 1e-6, dtypes, group_bytes);
  Result result{.nodes = tape.nodes()};
  for (size_t i = 0; i < outputs.size(); ++i) {
    result.outputs.push_back(read(outputs[i].value));
    if (i == 2) continue;
    const Shape& shape = kWeights[i];
    tape.seed(outputs[i], tensor_of(ctx, shape, dtype, numbers(300 + i, shape.elems())));
  }
  tape.backward(ctx);
  for (const Tensor& gradient : gradients) result.gradients.push_back(read(gradient));
  result.forward_launches = launches.counts()["spectral_norm_forward"];
  result.backward_launches = launches.counts()["spectral_norm_backward"];
  return result;
}

}  // namespace

TEST_CASE("spectral groups: the same bits however weights are grouped") {
  for (const auto& [dtype, output] :
       {std::pair(DType::kF64, DType::kF64), std::pair(DType::kF32, DType::kF32),
        std::pair(DType::kF32, DType::kBF16)}) {
    for (const bool accumulate : {false, true}) {
      INFO(name_of(dtype) << " to " << name_of(output) << ", accumulated: " << accumulate);
      const Result one = run(dtype, output, kOneSpectralGroup, accumulate);
      CHECK(one.nodes == 1);
      CHECK(one.forward_launches == 1);
      CHECK(one.backward_launches == 1);
      CHECK(one.gradients[2] == numbers(102, 40));  // as it was
      const auto elem_bytes = static_cast<int64_t>(size_of(dtype));
      // Each for itself; and from the end: both last ones, the third with the second, the first.
      for (const auto& [group_bytes, groups] :
           {std::pair(int64_t{1}, 5), std::pair(72 * elem_bytes, 3)}) {
        const Result many = run(dtype, output, group_bytes, accumulate);
        CHECK(many.nodes == static_cast<size_t>(groups));
        CHECK(many.forward_launches == 1);
        CHECK(many.outputs == one.outputs);
        CHECK(many.gradients == one.gradients);
      }
    }
  }
}

TEST_CASE("spectral groups: the last layers' gradients do not wait for the first layers") {
  HostAllocator allocator;
  LaunchRecorder launches;
  const Context ctx{
      .exec = CpuExec{.observer = &launches}, .allocator = &allocator, .power_iteration = true};
  constexpr int64_t kWidth = 6;
  const Shape square{kWidth, kWidth};
  Tape tape;
  std::vector<std::string> ready;
  std::vector<Var> weights;
  std::vector<Tensor> u, gradients;
  for (const char* name : {"first", "second", "third"}) {
    const uint64_t seed = weights.size();
    gradients.push_back(Tensor::zeros(ctx, square, DType::kF32));
    weights.push_back(tape.leaf(tensor_of(ctx, square, DType::kF32, numbers(seed, square.elems())),
                                gradients.back().view(), false,
                                [&ready, name] { ready.emplace_back(name); }));
    u.push_back(tensor_of(ctx, {kWidth}, DType::kF32, numbers(seed + 10, kWidth)));
  }
  const Context taped = ctx.with_tape(&tape);
  const std::vector<Var> prepared = spectral_norm(taped, weights, u, 1e-6, {}, 1);
  Var x = tensor_of(ctx, {2, kWidth}, DType::kF32, numbers(20, 2 * kWidth));
  for (const Var& w : prepared) x = linear(taped, x, w, Var());
  tape.seed(x, tensor_of(ctx, x.shape(), DType::kF32, numbers(21, x.value.elems())));
  launches.names.clear();
  tape.backward(ctx);
  CHECK(ready == std::vector<std::string>{"third", "second", "first"});
  std::vector<size_t> corrections;
  for (size_t i = 0; i < launches.names.size(); ++i) {
    if (launches.names[i] == "spectral_norm_backward") corrections.push_back(i);
  }
  // Products of the layer before lie between two corrections.
  REQUIRE(corrections.size() == 3);
  CHECK(corrections[1] - corrections[0] > 1);
  CHECK(corrections[2] - corrections[1] > 1);
}
