// What NVIDIA's libraries compute on a GPU, on the emulated device: convolutions and matrix
// products by the CPU's implementation, at their place in the stream.
//
// This tests order, lifetimes, shapes, the wiring of gradients, and the choice of plans: the number
// EMU_ENGINE is what heuristics answer, and a plan of an even number leaves bias, ReLU and other
// epilogues to its launcher. Descriptors, layouts and algorithms of the real libraries it does not
// test.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/common/cuda_status.h"
#include "kernels/common/library_plans.h"
#include "kernels/conv/conv_plans.h"
#include "kernels/linear/epilogue.h"
#include "runtime.h"
#include "scheduler.h"
#include "settings.h"

namespace bigbigan {
namespace {

// The view lies in one live device allocation.
void check_on_device(ConstView view, const char* op) {
  if (!view || view.bytes() == 0) return;
  if (!emu::on_device(view.data, static_cast<size_t>(view.bytes()))) {
    emu::fail(std::string(op) + ": an operand of shape " + to_string(view.shape) +
              " is not in device memory");
  }
}

// Runs `body` on the CPU when the stream comes to it; then what the scratch held is gone.
template <class Body>
void run_in_stream(const CudaExec& ex, const char* op, std::initializer_list<ConstView> operands,
                   View scratch, const Body& body) {
  for (const ConstView& operand : operands) check_on_device(operand, op);
  check_on_device(scratch, op);
  const std::vector<ConstView> live(operands);
  const cudaError_t status = emu::enqueue(ex.stream, [=] {
    if (emu::fault_at_launch()) return;
    for (const ConstView& operand : live) check_on_device(operand, op);
    body();
    if (scratch) std::memset(scratch.data, 0xff, static_cast<size_t>(scratch.bytes()));
  });
  check_cuda(status, op);
}

// By heuristics, or the engine that says so of itself.
std::string engine_of(const std::string& choice) {
  return choice.empty() ? "engine " + std::to_string(emu::settings().engine) : choice;
}

bool is_fused(const std::string& engine) { return (engine.back() - '0') % 2 == 1; }

std::string library_of(const char* name) {
  return name + std::string(" ") + std::to_string(emu::settings().library) + ", emulated";
}

// The CPU's gradient of bf16 weights is f32, a library's bf16.
void wgrad_on_cpu(const ConvProblem& p, const ConvOperands& o, View scratch) {
  if (p.dtype != DType::kBF16) {
    return conv2d_wgrad(CpuExec{}, p.g, o.first, o.second, o.result, false, scratch);
  }
  std::vector<float> wide(o.result.elems());
  const View d_w = {wide.data(), o.result.shape, DType::kF32};
  conv2d_wgrad(CpuExec{}, p.g, o.first, o.second, d_w, false, scratch);
  std::transform(wide.begin(), wide.end(), o.result.as<bf16>(), [](float v) { return bf16(v); });
}

void run_on_cpu(const ConvProblem& p, const ConvOperands& o, View scratch) {
  const CpuExec cpu;
  switch (p.pass) {
    case ConvPass::kFprop:
      return conv2d_fprop(cpu, p.g, o.first, o.second, o.bias, p.extras.relu, o.result, scratch);
    case ConvPass::kDgrad:
      return conv2d_dgrad(cpu, p.g, o.first, o.second, o.bias, o.result, false, scratch);
    case ConvPass::kWgrad:
      return wgrad_on_cpu(p, o, scratch);
  }
}

struct ProductPlan {
  std::string choice;
};

const ProductPlan& plan_for(const CudaExec& ex, const GemmArgs& g, const GemmSizes& s) {
  const std::string name = fmt::format("gemm of m {} n {} k {} batch {}, {}", s.m, s.n, s.k,
                                       s.batch, name_of(g.a.dtype));
  return ex.plans->plan_for<ProductPlan>(
      name, [](const std::string& choice) { return ProductPlan{engine_of(choice)}; });
}

// What a library does of the product that leaves its epilogue apart.
GemmArgs without_epilogue(GemmArgs g) {
  g.bias = g.only_where = {};
  g.positive = g.a_sums = {};
  g.relu = false;
  return g;
}

}  // namespace

ConvPlan make_conv_plan(const ConvProblem& problem, const std::string& choice) {
  const std::string engine = engine_of(choice);
  const bool fused = is_fused(engine) && !problem.extras.accumulate;
  ConvProblem p = problem;  // what the plan does itself
  p.extras = fused ? problem.extras : ConvExtras();
  const int64_t bytes = conv2d_scratch_bytes(CpuExec{}, p.pass, p.g, p.dtype, p.extras);
  const auto execute = [p, bytes, fused](const CudaExec& ex, const ConvOperands& operands,
                                         void* workspace) {
    ConvOperands mine = operands;
    if (!fused) mine.bias = {};
    const View scratch = {workspace, {bytes}, DType::kU8};
    run_in_stream(ex, "conv2d", {mine.first, mine.second, mine.bias, mine.result}, scratch,
                  [=] { run_on_cpu(p, mine, scratch); });
  };
  return {engine, fused, bytes, execute};
}

std::string conv2d_library() { return library_of("cuDNN"); }
std::string gemm_library() { return library_of("cuBLASLt"); }

void gemm(const CudaExec& ex, const GemmArgs& args) {
  const Observed observed(ex);
  const GemmSizes sizes = gemm_sizes(args);
  const bool fused = is_fused(plan_for(ex, args, sizes).choice);
  const GemmArgs mine = fused ? args : without_epilogue(args);
  run_in_stream(
      ex, "gemm",
      {mine.a, mine.b, mine.c, mine.addend, mine.bias, mine.positive, mine.only_where, mine.a_sums},
      {}, [=] { gemm(CpuExec{}, mine); });
  if (!fused && sizes.m > 0 && sizes.n > 0) gemm_finish(ex, args);
}

void batched_gemm(const CudaExec& ex, const GemmArgs& args) {
  const Observed observed(ex);
  plan_for(ex, args, batched_gemm_sizes(args));
  run_in_stream(ex, "batched_gemm", {args.a, args.b, args.c}, {},
                [=] { batched_gemm(CpuExec{}, args); });
}

}  // namespace bigbigan
