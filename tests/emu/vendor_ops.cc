// What NVIDIA's libraries compute on a GPU, on the emulated device: convolutions and matrix
// products by the CPU's implementation, at their place in the stream.
//
// This tests order, lifetimes, shapes and the wiring of gradients; descriptors, layouts and
// algorithms of the real libraries it does not.
#include <cstring>
#include <vector>

#include "kernels/common/cuda_status.h"
#include "kernels/conv/conv2d.h"
#include "kernels/linear/gemm.h"
#include "runtime.h"
#include "scheduler.h"

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

}  // namespace

int64_t conv2d_scratch_bytes(const CudaExec&, ConvPass pass, const ConvGeometry& g, DType dtype,
                             const ConvExtras& extras) {
  return conv2d_scratch_bytes(CpuExec{}, pass, g, dtype, extras);
}

void conv2d_fprop(const CudaExec& ex, const ConvGeometry& g, ConstView x, ConstView w,
                  ConstView bias, bool relu, View y, View scratch) {
  const Observed observed(ex);
  run_in_stream(ex, "conv2d_fprop", {x, w, bias, y}, scratch,
                [=] { conv2d_fprop(CpuExec{}, g, x, w, bias, relu, y, scratch); });
}

void conv2d_dgrad(const CudaExec& ex, const ConvGeometry& g, ConstView d_y, ConstView w,
                  ConstView bias, View d_x, bool accumulate, View scratch) {
  const Observed observed(ex);
  run_in_stream(ex, "conv2d_dgrad", {d_y, w, bias, d_x}, scratch,
                [=] { conv2d_dgrad(CpuExec{}, g, d_y, w, bias, d_x, accumulate, scratch); });
}

void conv2d_wgrad(const CudaExec& ex, const ConvGeometry& g, ConstView x, ConstView d_y, View d_w,
                  bool accumulate, View scratch) {
  const Observed observed(ex);
  run_in_stream(ex, "conv2d_wgrad", {x, d_y, d_w}, scratch,
                [=] { conv2d_wgrad(CpuExec{}, g, x, d_y, d_w, accumulate, scratch); });
}

void gemm(const CudaExec& ex, const GemmArgs& args) {
  const Observed observed(ex);
  run_in_stream(ex, "gemm", {args.a, args.b, args.c}, {}, [=] { gemm(CpuExec{}, args); });
}

void batched_gemm(const CudaExec& ex, const GemmArgs& args) {
  const Observed observed(ex);
  run_in_stream(ex, "batched_gemm", {args.a, args.b, args.c}, {},
                [=] { batched_gemm(CpuExec{}, args); });
}

}  // namespace bigbigan
