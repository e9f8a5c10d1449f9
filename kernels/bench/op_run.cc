#include "kernels/bench/op_run.h"

#include <algorithm>

#include "tests/harness/values.h"

namespace bigbigan {

OpRun::OpRun(const Context& ctx, const OpCase& c)
    : ctx_(ctx), case_(c), inputs_(case_inputs(ctx, c, ctx.dtype)) {
  ctx_.batch_statistics = c.training;
  ctx_.power_iteration = c.training;
  for (const CaseInput& x : c.inputs) {
    const bool is_activation = x.role == Role::kActivation;
    gradients_.push_back(
        Tensor::empty(ctx, x.shape, is_activation ? ctx.dtype : master_dtype(ctx.dtype)));
  }
  forward();
  for (const Var& y : outputs_) seeds_.push_back(seed_of(y.value));
}

Tensor OpRun::seed_of(const Tensor& y) const {
  const DType dtype = case_.makes_weights ? master_dtype(ctx_.dtype) : y.dtype();
  return dtype == y.dtype() ? y : tensor_of(ctx_, y.shape(), dtype, read(y));
}

void OpRun::forward() {
  outputs_.clear();  // a pool gives the same block again: a recording may run more than once
  outputs_ = case_.run(ctx_, std::vector<Var>(inputs_.begin(), inputs_.end()));
}

void OpRun::backward(const std::function<void()>& before) {
  Tape tape;
  const Outputs outputs = case_.run(ctx_.with_tape(&tape), leaves(tape));
  for (size_t k = 0; k < outputs.size(); ++k) {
    if (outputs[k].slot != Var::kConstant) tape.seed(outputs[k], seeds_[k]);
  }
  before();
  tape.backward(ctx_);
}

int64_t OpRun::bytes(bool backward) const {
  int64_t bytes = 0;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (!backward)
      bytes += inputs_[i].view().bytes();
    else if (case_.inputs[i].wants_gradient)
      bytes += gradients_[i].view().bytes();
  }
  for (size_t k = 0; k < seeds_.size(); ++k) {
    bytes += (backward ? seeds_[k] : outputs_[k].value).view().bytes();
  }
  return bytes;
}

std::vector<Var> OpRun::leaves(Tape& tape) const {
  std::vector<Var> vars(inputs_.begin(), inputs_.end());
  for (size_t i = 0; i < vars.size(); ++i) {
    if (!case_.inputs[i].wants_gradient) continue;
    vars[i] = tape.leaf(inputs_[i], gradients_[i].view(), false);
  }
  return vars;
}

bool is_differentiable(const OpCase& c) {
  return std::any_of(c.inputs.begin(), c.inputs.end(),
                     [](const CaseInput& x) { return x.wants_gradient; });
}

}  // namespace bigbigan
