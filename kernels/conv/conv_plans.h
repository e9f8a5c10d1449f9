// Plans of a library for convolutions on CUDA: what a problem is, and what computes it.
#pragma once

#include <functional>
#include <string>

#include "kernels/conv/conv2d.h"

namespace bigbigan {

struct ConvProblem {
  ConvPass pass = ConvPass::kFprop;
  ConvGeometry g;
  DType dtype = DType::kF32;
  ConvExtras extras;

  [[nodiscard]] bool has_epilogue() const { return extras.bias || extras.relu; }
  [[nodiscard]] Shape result() const;
  [[nodiscard]] DType result_dtype() const;
  // All that tells problems apart: "conv2d fprop of x (64,8,8,16) and weight (32,3,3,16), stride 1,
  // pad 1, bf16, bias, relu".
  [[nodiscard]] std::string name() const;
};

// The operands of the pass in the order of its launcher's arguments.
struct ConvOperands {
  ConstView first, second, bias;
  View result;
};

// Writes the result in the problem's dtype, also where it accumulates: who launches it widens and
// adds.
struct ConvPlan {
  std::string choice;     // Note [Recorded plans]
  bool is_fused = false;  // bias and ReLU are done by the plan, else by who launches it
  int64_t workspace_bytes = 0;
  std::function<void(const CudaExec& ex, const ConvOperands& operands, void* workspace)> execute;
};

// A plan of the library's choice, or the one that says `choice` of itself. Throws Error{kSystem}
// where the library is not there, or has none.
ConvPlan make_conv_plan(const ConvProblem& problem, const std::string& choice);

}  // namespace bigbigan
