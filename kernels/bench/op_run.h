// An op case with inputs and gradient buffers of its own, to be run again and again in the dtype
// of a context.
#pragma once

#include <functional>

#include "tests/harness/op_case.h"

namespace bigbigan {

class OpRun {
 public:
  OpRun(const Context& ctx, const OpCase& c);

  // Without a tape. The outputs live until the next call.
  void forward();
  // Forward on a tape, then `before`, then backward, with the first forward()'s outputs as
  // gradients.
  void backward(const std::function<void()>& before);

  // Of what every implementation must move: inputs and outputs, backward the gradients of both.
  [[nodiscard]] int64_t bytes(bool backward) const;

 private:
  std::vector<Var> leaves(Tape& tape) const;
  // The gradient of an output: its own values.
  Tensor seed_of(const Tensor& y) const;

  Context ctx_;
  const OpCase& case_;
  std::vector<Tensor> inputs_, gradients_, seeds_;
  Outputs outputs_;
};

bool is_differentiable(const OpCase& c);

}  // namespace bigbigan
