// The order in which nodes run backward, and who is told when a gradient is complete.
#include "engine/core/tape.h"

#include <catch2/catch.hpp>
#include <string>
#include <utility>

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

  std::vector<Var> node(const std::string& name, const std::vector<Var>& inputs,
                        Turn turn = Turn::kInReverse, int outputs = 1) {
    const int count = static_cast<int>(inputs.size());
    const auto backward = [this, name, count, outputs](Backward& b) {
      events.push_back(name);
      live_gradients.push_back(allocator.ledger().live[size_t(MemoryTag::kGradients)]);
      for (int i = 0; i < count; ++i) {
        if (b.wants(i)) add_up(b, outputs, b.grad(i));
      }
    };
    return tape.record("sum", inputs, std::vector<Tensor>(outputs, ones()), backward, {}, turn);
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
  static void add_up(const Backward& b, int outputs, const GradTarget& d) {
    for (int64_t e = 0; e < kElems; ++e) {
      float& sum = d.view.as<float>()[e];
      if (!d.accumulate) sum = 0;
      for (int k = 0; k < outputs; ++k) {
        if (b.has(k)) sum += b.d_output(k).as<float>()[e];
      }
    }
  }
};

// Weights that are prepared first, all together, and used by the layers of a network, last to first
// in the backward pass; the first layer follows another node.
Names run_network(Sums& s, Turn turn) {
  const Var w = s.leaf("w"), v = s.leaf("v"), x = s.leaf("x");
  const std::vector<Var> prepared = s.node("prepare", {w, v}, turn, 2);
  const Var first = s.node("first", s.node("begin", {x}))[0];
  const Var second = s.node("second", {first, prepared[0]})[0];
  s.backward(s.node("third", {second, prepared[1]})[0]);
  return s.events;
}

}  // namespace

TEST_CASE("tape: a node runs in reverse order, or at once when its gradients are complete") {
  Sums in_reverse, at_once;
  CHECK(run_network(in_reverse, Turn::kInReverse) ==
        Names{"third", "second", "first", "begin", "x", "prepare", "w", "v"});
  CHECK(run_network(at_once, Turn::kAtOnce) ==
        Names{"third", "second", "prepare", "w", "v", "first", "begin", "x"});
  for (size_t i = 0; i < at_once.gradients.size(); ++i) {
    CHECK(read(at_once.gradients[i]) == read(in_reverse.gradients[i]));
    CHECK(read(at_once.gradients[i])[0] == (i < 2 ? 2 : 1));
  }
  // When "begin" runs, the gradients of what was prepared are freed, or still wait.
  CHECK(at_once.live_gradients.back() <= 2 * kElems * int64_t{sizeof(float)});
  CHECK(in_reverse.live_gradients[3] > 2 * kElems * int64_t{sizeof(float)});
}

TEST_CASE("tape: nodes at once may follow each other, and use a leaf again") {
  Sums s;
  const Var w = s.leaf("w"), x = s.leaf("x");
  const Var inner = s.node("inner", {w}, Turn::kAtOnce)[0];
  const Var outer = s.node("outer", {inner, w}, Turn::kAtOnce)[0];
  const Var begin = s.node("begin", {x})[0];
  const Var middle = s.node("middle", {begin, outer, outer})[0];
  s.backward(s.node("end", {middle})[0]);
  CHECK(s.events == Names{"end", "middle", "outer", "inner", "w", "begin", "x"});
  CHECK(read(s.gradients[0])[0] == 4);  // twice through outer, and there twice
  CHECK(read(s.gradients[1])[0] == 1);
}

TEST_CASE("tape: a node at once waits for all its outputs, but for none that nobody uses") {
  Sums s;
  const Var w = s.leaf("w"), x = s.leaf("x");
  const std::vector<Var> pair = s.node("pair", {w}, Turn::kAtOnce, 3);
  const Var first = s.node("first", {x, pair[0]})[0];
  const Var second = s.node("second", {first})[0];
  s.node("aside", {pair[2]});  // no gradient comes here
  s.backward(s.node("third", {second, pair[1]})[0]);
  CHECK(s.events == Names{"third", "second", "first", "x", "pair", "w"});
  CHECK(read(s.gradients[0])[0] == 2);
}

TEST_CASE("tape: outputs that nobody uses leave a node at once its turn") {
  Sums s;
  const Var w = s.leaf("w"), x = s.leaf("x");
  s.node("unused", {w}, Turn::kAtOnce);
  s.backward(s.node("seeded", {x}, Turn::kAtOnce)[0]);
  CHECK(s.events == Names{"seeded", "x", "w"});  // "unused" had nothing to do, but its turn
}

TEST_CASE("tape: terms of a sum share its gradient, which takes no memory of their own") {
  Sums s;
  const Var x = s.leaf("x"), y = s.leaf("y");
  const Var first = s.node("first", {x})[0], second = s.node("second", {y})[0];
  s.backward(s.node("end", {s.sum({first, second})})[0]);
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
  const Var first = s.node("first", {x})[0], second = s.node("second", {y})[0];
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
