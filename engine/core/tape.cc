#include "engine/core/tape.h"

#include <algorithm>

#include "kernels/elementwise/unary.h"

namespace bigbigan {

int Tape::add_slot(const Shape& shape, DType gradient_dtype) {
  slots_.push_back({.shape = shape, .dtype = gradient_dtype});
  return static_cast<int>(slots_.size()) - 1;
}

Var Tape::leaf(const Tensor& value, View grad, bool accumulate, std::function<void()> on_ready) {
  if (const auto known = leaves_.find(grad.data); known != leaves_.end()) {
    return {value, known->second};
  }
  check_shape("tape", "leaf gradient", grad.shape, value.shape());
  const int slot = add_slot(value.shape(), grad.dtype);
  Slot& s = slots_[slot];
  s.external = grad;
  s.written = accumulate;
  s.keep = true;
  s.on_ready = std::move(on_ready);
  leaves_.emplace(grad.data, slot);
  return {value, slot};
}

Var Tape::input(const Tensor& value) {
  const int slot = add_slot(value.shape(), value.dtype());
  slots_[slot].keep = true;
  return {value, slot};
}

bool Tape::watches(const void* owner) const {
  return std::find(watched_.begin(), watched_.end(), owner) != watched_.end();
}

bool Tape::any_wanted(std::span<const Var> inputs) const {
  return std::any_of(inputs.begin(), inputs.end(),
                     [](const Var& v) { return v.slot != Var::kConstant; });
}

void Tape::push(Node node, std::span<const Var> inputs) {
  check(!done_, "tape: {} recorded after backward()", node.op);
  for (const Var& v : inputs) {
    node.inputs.push_back(v.slot);
    if (v.slot != Var::kConstant) ++slots_[v.slot].uses;
  }
  nodes_.push_back(std::move(node));
}

std::vector<Var> Tape::record(std::string_view op, std::span<const Var> inputs,
                              std::span<const Tensor> outputs, BackwardFn backward,
                              std::optional<DType> gradient_dtype) {
  std::vector<Var> vars(outputs.begin(), outputs.end());
  if (!any_wanted(inputs)) return vars;
  std::vector<int> slots;
  for (Var& v : vars) {
    v.slot = add_slot(v.shape(), gradient_dtype.value_or(v.dtype()));
    slots.push_back(v.slot);
  }
  push({.op = op, .outputs = std::move(slots), .backward = std::move(backward)}, inputs);
  return vars;
}

void Tape::record_root(std::string_view op, std::span<const Var> inputs, BackwardFn backward) {
  if (any_wanted(inputs)) push({.op = op, .root = true, .backward = std::move(backward)}, inputs);
}

void Tape::seed(const Var& var, const Tensor& gradient) {
  check(var.slot != Var::kConstant, "tape: seed of a constant");
  Slot& slot = slots_[var.slot];
  check_shape("tape", "seed", gradient.shape(), slot.shape);
  slot.grad = gradient;
  slot.written = true;
}

void Tape::run(const Context& ctx, Node& node) {
  const bool reached = node.root || std::any_of(node.outputs.begin(), node.outputs.end(),
                                                [&](int s) { return slots_[s].written; });
  if (reached) {
    Backward backward(ctx, *this, node);
    node.backward(backward);
  }
  node.backward = nullptr;  // frees what the closure saved
  for (int s : node.outputs) {
    if (!slots_[s].keep) slots_[s].grad = Tensor();
  }
  for (int s : node.inputs) {
    if (s != Var::kConstant && --slots_[s].uses == 0 && slots_[s].on_ready) slots_[s].on_ready();
  }
}

void Tape::backward(const Context& ctx) {
  check(!done_, "tape: backward() runs once");
  done_ = true;
  const Context without_tape = ctx.with_tape(nullptr);
  for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) {
    run(without_tape, *node);
  }
}

Tensor Tape::gradient(const Var& var) const {
  check(var.slot != Var::kConstant, "tape: gradient of a constant");
  return slots_[var.slot].grad;
}

bool Backward::has(int k) const { return tape_.slots_[node_.outputs[k]].written; }

ConstView Backward::d_output(int k) const {
  check(has(k), "{}: no gradient for output {}", node_.op, k);
  return tape_.slots_[node_.outputs[k]].grad.view();
}

GradTarget Backward::grad(int i) const {
  check(wants(i), "{}: input {} wants no gradient", node_.op, i);
  Tape::Slot& slot = tape_.slots_[node_.inputs[i]];
  const bool accumulate = slot.written;
  const auto fresh = [&] {
    return Tensor::empty(ctx, slot.shape, slot.dtype, MemoryTag::kGradients);
  };
  if (!slot.grad) {
    slot.grad = slot.external ? Tensor::borrow(slot.external) : fresh();
  } else if (!slot.external && !slot.grad.is_sole_owner()) {
    const Tensor own = fresh();
    ctx.run([&](const auto& ex) { scale(ex, slot.grad, 1.0, own, false); });
    slot.grad = own;
  }
  slot.written = true;
  return {slot.grad.view(), accumulate};
}

void Backward::pass_on(int i) const {
  if (!wants(i)) return;
  Tape::Slot& slot = tape_.slots_[node_.inputs[i]];
  const Tensor& passed = tape_.slots_[node_.outputs[0]].grad;
  if (!slot.written && !slot.external && slot.dtype == passed.dtype()) {
    slot.grad = passed.reshape(slot.shape);
    slot.written = true;
    return;
  }
  const ConstView d_y = d_output();
  const GradTarget d = grad(i);
  ctx.run([&](const auto& ex) { scale(ex, d_y, 1.0, d.view, d.accumulate); });
}

Var record(const Context& ctx, std::string_view op, std::initializer_list<Var> inputs,
           const Tensor& output, BackwardFn backward, std::optional<DType> gradient_dtype) {
  if (ctx.tape == nullptr) return output;
  const std::span<const Var> list(inputs.begin(), inputs.size());
  return ctx.tape->record(op, list, {&output, 1}, std::move(backward), gradient_dtype)[0];
}

}  // namespace bigbigan
