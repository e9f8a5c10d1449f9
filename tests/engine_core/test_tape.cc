// The order in which nodes run backward, and who is told when a gradient is complete.
#include "engine/core/tape.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

using Names = std::vector<std::string>;
constexpr int64_t kElems = 64;

// Nodes that add their inputs up, and what happens when they run backward.
class Sums {
 public:
  Var leaf(const std::string& name) {
    gradients.push_back(Tensor::zeros(ctx, {kElems}, DType::kF32));
    return tape.leaf(ones(), gradients.back().view(), false,
                     [this, name] { events.push_back(name); });
  }

  Var node(const std::string& name, const std::vector<Var>& inputs) {
    const int count = static_cast<int>(inputs.size());
    const auto backward = [this, name, count](Backward& b) {
      events.push_back(name);
      live_gradients.push_back(allocator.ledger().live[size_t(MemoryTag::kGradients)]);
      for (int i = 0; i < count; ++i) {
        if (b.wants(i)) add_up(b, b.grad(i));
      }
    };
    return tape.record("sum", inputs, std::vector<Tensor>{ones()}, backward)[0];
  }

  // A node that passes its gradient on to all inputs.
  Var sum(const std::vector<Var>& inputs) {
    const int count = static_cast<int>(inputs.size());
    const auto backward = [count](Backward& b) {
      for (int i = 0; i < count; ++i) b.pass_on(i);
    };
    return tape.record("sum", inputs, std::vector<Tensor>{ones()}, backward)[0];
  }

  void backward(const Var& loss) { backward(loss, ones()); }
  void backward(const Var& loss, const Tensor& gradient) {
    tape.seed(loss, gradient);
    tape.backward(ctx);
  }

  HostAllocator allocator;
  Context ctx{.exec = CpuExec{}, .allocator = &allocator};
  Tape tape;
  Names events;                         // nodes that run, leaves that are ready
  std::vector<int64_t> live_gradients;  // bytes of the tape's gradients as each node runs
  std::vector<Tensor> gradients;        // of the leaves

  Tensor ones() { return tensor_of(ctx, {kElems}, DType::kF32, std::vector<double>(kElems, 1)); }

 private:
  static void add_up(const Backward& b, const GradTarget& d) {
    for (int64_t e = 0; e < kElems; ++e) {
      float& sum = d.view.as<float>()[e];
      sum = (d.accumulate ? sum : 0) + b.d_output().as<float>()[e];
    }
  }
};

}  // namespace

// Weights that the layers of a network use, last to first in the backward pass.
TEST_CASE("tape: nodes run in reverse, and a leaf is ready when the last that uses it has run") {
  Sums s;
  const Var w = s.leaf("w"), v = s.leaf("v"), x = s.leaf("x");
  const Var first = s.node("first", {s.node("begin", {x})});
  const Var second = s.node("second", {first, w});
  s.node("aside", {second, v});  // no gradient comes here
  s.backward(s.node("third", {second, v, v}));
  CHECK(s.events == Names{"third", "v", "second", "w", "first", "begin", "x"});
  CHECK(read(s.gradients[0])[0] == 1);
  CHECK(read(s.gradients[1])[0] == 2);
  CHECK(read(s.gradients[2])[0] == 1);
}

TEST_CASE("tape: terms of a sum share its gradient, which takes no memory of their own") {
  Sums s;
  const Var x = s.leaf("x"), y = s.leaf("y");
  const Var first = s.node("first", {x}), second = s.node("second", {y});
  s.backward(s.node("end", {s.sum({first, second})}));
  CHECK(s.events == Names{"end", "second", "y", "first", "x"});
  // A gradient of their own for the sum, and none for its terms.
  for (const int64_t bytes : s.live_gradients) {
    CHECK(bytes <= kElems * int64_t{sizeof(float)});
  }
  for (const Tensor& gradient : s.gradients) CHECK(read(gradient)[0] == 1);
}

TEST_CASE("tape: who adds to a shared gradient changes it for nobody else") {
  Sums s;
  const Var x = s.leaf("x"), y = s.leaf("y");
  const Var first = s.node("first", {x}), second = s.node("second", {y});
  const Var both = s.sum({first, second});
  // Runs before `first` and `second`, adds to the gradient of `first` alone.
  const Var again = s.sum({first, first});
  const Tensor gradient = s.ones();
  s.backward(s.sum({again, both}), gradient);
  CHECK(read(s.gradients[0])[0] == 3);
  CHECK(read(s.gradients[1])[0] == 1);
  CHECK(read(gradient)[0] == 1);
}

TEST_CASE("tape: a leaf keeps its own buffer") {
  Sums s;
  const Var x = s.leaf("x");
  s.backward(s.sum({x, x, x}));
  CHECK(read(s.gradients[0])[0] == 3);
}
