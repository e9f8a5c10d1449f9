// Reverse-mode automatic differentiation: nodes in execution order, used once, walked backwards
// once.
//
// Note [Gradient ownership]: a gradient buffer has one owner. Gradients of intermediate values
// belong to the tape, which allocates one when the first consumer writes it and frees it when the
// producer has run. Gradients of parameters are views into the ParamStore. A backward closure never
// adds buffers up itself: it asks `wants(i)`, then `grad(i)`, and gets a buffer together with the
// order to overwrite it or to accumulate into it. Inputs are addressed by index, never by the order
// of calls.
//
// Note [Passing on]: the gradient of a sum is that of each term. `pass_on(i)` lets the input share
// the output's buffer instead of copying it: a copy of a large activation takes as long as the sum
// itself. No one writes to a buffer that others share: who comes to accumulate first takes a copy
// of its own. Most often there is none to take, for by then the others have been read and let go.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/core/tensor.h"

namespace bigbigan {

// A value in a differentiable program: a tensor, and the slot its gradient will go to.
struct Var {
  Tensor value;
  int slot = kConstant;  // kConstant: no gradient is wanted

  static constexpr int kConstant = -1;

  Var() = default;
  Var(Tensor tensor) : value(std::move(tensor)) {}  // NOLINT: a constant
  Var(Tensor tensor, int slot) : value(std::move(tensor)), slot(slot) {}

  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(value); }
  [[nodiscard]] const Shape& shape() const { return value.shape(); }
  [[nodiscard]] DType dtype() const { return value.dtype(); }
  [[nodiscard]] ConstView view() const { return value.view(); }
};

// Where a backward launcher writes: overwrite, or add to what is there.
struct GradTarget {
  View view;
  bool accumulate = false;
};

class Backward;
using BackwardFn = std::function<void(Backward&)>;

class Tape {
 public:
  // A leaf whose gradient the caller owns: `grad` has the value's shape, and may have another dtype
  // (Note [Master weights]); `accumulate` says whether the first write overwrites it. `on_ready` is
  // called during backward(), when the last node that uses the leaf has run. Leaves are told apart
  // by the address of their gradient: the same parameter asked for twice is one leaf.
  Var leaf(const Tensor& value, View grad, bool accumulate, std::function<void()> on_ready = {});
  // A leaf whose gradient the tape keeps; read it with gradient() after backward().
  Var input(const Tensor& value);

  // Parameters whose owner is watched become leaves, those of others constants (D in the E+G
  // update).
  void watch(const void* owner) { watched_.push_back(owner); }
  [[nodiscard]] bool watches(const void* owner) const;

  // Records a node. `inputs` may hold constants. Returns one Var per output; without any input that
  // wants a gradient nothing is recorded and the outputs are constants. Gradients of the outputs
  // have `gradient_dtype`, or else the outputs' own.
  std::vector<Var> record(std::string_view op, std::span<const Var> inputs,
                          std::span<const Tensor> outputs, BackwardFn backward,
                          std::optional<DType> gradient_dtype = {});
  // A node without outputs that starts the backward pass: a loss.
  void record_root(std::string_view op, std::span<const Var> inputs, BackwardFn backward);
  // Sets the gradient of `var` before backward(), as a loss would (for tests).
  void seed(const Var& var, const Tensor& gradient);

  // Runs all nodes backwards and frees each as it has run. Once only. `ctx.tape` is ignored.
  void backward(const Context& ctx);
  // The gradient of an input(); an empty tensor when nothing flowed there.
  [[nodiscard]] Tensor gradient(const Var& var) const;
  [[nodiscard]] size_t nodes() const { return nodes_.size(); }

 private:
  friend class Backward;
  struct Slot {
    Shape shape;
    DType dtype = DType::kF32;  // of the gradient
    Tensor grad;                // owned or borrowed buffer; empty until first written
    View external;              // parameter gradient, if any
    bool written = false;       // holds a (partial) gradient: further writes accumulate
    bool keep = false;          // leaf: not freed
    std::function<void()> on_ready;
    int uses = 0;  // nodes that list the slot and have not run
  };
  struct Node {
    std::string_view op;
    std::vector<int> inputs;
    std::vector<int> outputs;
    bool root = false;
    BackwardFn backward;
  };
  int add_slot(const Shape& shape, DType gradient_dtype);
  bool any_wanted(std::span<const Var> inputs) const;
  void push(Node node, std::span<const Var> inputs);
  void run(const Context& ctx, Node& node);

  std::vector<Slot> slots_;
  std::vector<Node> nodes_;
  std::vector<const void*> watched_;
  std::unordered_map<const void*, int> leaves_;
  bool done_ = false;
};

// What a backward closure sees of its node.
class Backward {
 public:
  // The forward context without its tape.
  const Context& ctx;

  // Whether a gradient has arrived for output `k`.
  [[nodiscard]] bool has(int k) const;
  // Gradient of output `k`; throws Error{kInternal} when none has arrived.
  [[nodiscard]] ConstView d_output(int k = 0) const;
  [[nodiscard]] bool wants(int i) const { return node_.inputs[i] != Var::kConstant; }
  // The buffer for input `i`'s gradient. Ask once per wanted input, and then write all of it.
  [[nodiscard]] GradTarget grad(int i) const;
  // Output 0's gradient is input `i`'s, or a term of it; nothing where input `i` wants none. Their
  // shapes have as many elements. Note [Passing on].
  void pass_on(int i) const;

 private:
  friend class Tape;
  Backward(const Context& ctx, Tape& tape, Tape::Node& node) : ctx(ctx), tape_(tape), node_(node) {}
  Tape& tape_;
  Tape::Node& node_;
};

// Records a one-output node on ctx.tape, or returns a constant when there is no tape.
Var record(const Context& ctx, std::string_view op, std::initializer_list<Var> inputs,
           const Tensor& output, BackwardFn backward, std::optional<DType> gradient_dtype = {});

}  // namespace bigbigan
