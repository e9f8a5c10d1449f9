// Convolutions on CUDA: a library's plan (kernels/conv/conv_plans.h), and behind it conv2d_finish
// for what the plan leaves to be done: bias and ReLU where the library does not fuse them, adding
// to a gradient, and widening: the gradient of bf16 weights is f32, and cuDNN forms it in bf16
// alone.
#include "kernels/conv/conv2d.h"
#include "kernels/common/cuda_status.h"
#include "kernels/common/library_plans.h"
#include "kernels/conv/conv2d_shapes.h"
#include "kernels/conv/conv_plans.h"
#include "kernels/conv/finish.h"

namespace bigbigan {
namespace {

constexpr int64_t kAlignment = 16;  // of every operand, as engines expect

const ConvPlan& plan_for(const CudaExec& ex, const ConvProblem& p) {
  return ex.plans->plan_for<ConvPlan>(
      p.name(), [&](const std::string& choice) { return make_conv_plan(p, choice); });
}

// Whether the plan's result is not yet the launcher's, and lies in the scratch behind the library's
// workspace.
bool is_apart(const ConvProblem& p) { return p.extras.accumulate || p.result_dtype() != p.dtype; }
int64_t apart_at(const ConvPlan& plan) { return (plan.workspace_bytes + 255) / 256 * 256; }

int64_t scratch_bytes(const ConvProblem& p, const ConvPlan& plan) {
  if (!is_apart(p)) return plan.workspace_bytes;
  return apart_at(plan) + p.result().elems() * static_cast<int64_t>(size_of(p.dtype));
}

void check_operand(const ConvProblem& p, ConstView view, DType dtype) {
  check(view.dtype == dtype, "{}: an operand is {}", p.name(), name_of(view.dtype));
  check(reinterpret_cast<uintptr_t>(view.data) % kAlignment == 0,
        "{}: an operand is not at a multiple of {} bytes", p.name(), kAlignment);
}

void run(const CudaExec& ex, const ConvProblem& p, const ConvOperands& operands, View scratch) {
  const ConvPlan& plan = plan_for(ex, p);
  check(scratch.bytes() >= scratch_bytes(p, plan), "{}: {} bytes of scratch, needs {}", p.name(),
        scratch.bytes(), scratch_bytes(p, plan));
  check_operand(p, operands.first, p.dtype);
  check_operand(p, operands.second, p.dtype);
  if (operands.bias) check_operand(p, operands.bias, p.dtype);
  check_operand(p, operands.result, p.result_dtype());
  ConvOperands made = operands;
  if (is_apart(p)) {
    made.result = {static_cast<std::byte*>(scratch.data) + apart_at(plan), p.result(), p.dtype};
  }
  plan.execute(ex, made, scratch.data);
  if (is_apart(p) || (p.has_epilogue() && !plan.is_fused)) {
    conv2d_finish(ex, made.result, operands.bias, p.extras.relu, operands.result,
                  p.extras.accumulate);
  }
}

}  // namespace

Shape ConvProblem::result() const {
  if (pass == ConvPass::kFprop) return g.y();
  return pass == ConvPass::kDgrad ? g.x() : g.weight();
}

DType ConvProblem::result_dtype() const {
  return pass == ConvPass::kWgrad ? master_dtype(dtype) : dtype;
}

std::string ConvProblem::name() const {
  constexpr const char* kPasses[] = {"fprop", "dgrad", "wgrad"};
  return fmt::format("conv2d {} of x {} and weight {}, stride {}, pad {}, {}{}{}{}",
                     kPasses[static_cast<int>(pass)], g.x(), g.weight(), g.stride, g.pad,
                     name_of(dtype), extras.bias ? ", bias" : "", extras.relu ? ", relu" : "",
                     extras.accumulate ? ", accumulated" : "");
}

int64_t conv2d_scratch_bytes(const CudaExec& ex, ConvPass pass, const ConvGeometry& g, DType dtype,
                             const ConvExtras& extras) {
  const ConvProblem p{pass, g, dtype, extras};
  if (g.n == 0 || p.result().elems() == 0) return 0;
  return scratch_bytes(p, plan_for(ex, p));
}

void conv2d_fprop(const CudaExec& ex, const ConvGeometry& g, ConstView x, ConstView w,
                  ConstView bias, bool relu, View y, View scratch) {
  const Observed observed(ex,
                          {g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, bool(bias), relu});
  check_fprop(g, x, w, bias, y);
  if (y.elems() == 0) return;
  run(ex, {ConvPass::kFprop, g, y.dtype, {bool(bias), relu}}, {x, w, bias, y}, scratch);
}

void conv2d_dgrad(const CudaExec& ex, const ConvGeometry& g, ConstView d_y, ConstView w,
                  ConstView bias, View d_x, bool accumulate, View scratch) {
  const Observed observed(
      ex, {g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, bool(bias), accumulate});
  check_dgrad(g, d_y, w, bias, d_x);
  if (d_x.elems() == 0) return;
  run(ex, {ConvPass::kDgrad, g, d_x.dtype, {.bias = bool(bias), .accumulate = accumulate}},
      {d_y, w, bias, d_x}, scratch);
}

void conv2d_wgrad(const CudaExec& ex, const ConvGeometry& g, ConstView x, ConstView d_y, View d_w,
                  bool accumulate, View scratch) {
  const Observed observed(ex, {g.n, g.h, g.w, g.c, g.k, g.r, g.s, g.stride, g.pad, 0, accumulate});
  check_wgrad(g, x, d_y, d_w);
  if (d_w.elems() == 0) return;
  if (g.n == 0) {  // a sum of nothing
    if (accumulate) return;
    return check_cuda(cudaMemsetAsync(d_w.data, 0, d_w.bytes(), ex.stream), "conv2d");
  }
  run(ex, {ConvPass::kWgrad, g, x.dtype, {.accumulate = accumulate}}, {x, d_y, {}, d_w}, scratch);
}

}  // namespace bigbigan
