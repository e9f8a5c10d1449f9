// One object per operation and shape. It drives every check below, and the benchmark.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/core/tape.h"

namespace bigbigan {

// Inputs are drawn from a generator seeded by the case's name: a failure can be replayed by name.
struct CaseInput {
  std::string name;
  Shape shape;
  double scale = 1.0;   // standard deviation
  double offset = 0.0;
  bool wants_gradient = true;
  // Values closer to zero than this are moved away: finite differences must not step over a kink.
  double kink = 0.0;
};

using Outputs = std::vector<Var>;
using CaseFunction = std::function<Outputs(const Context&, std::span<const Var>)>;

struct OpCase {
  std::string name;  // "<op>/<shape or variant>"
  std::vector<CaseInput> inputs;
  CaseFunction run;
  // The same by simpler operations, for fused ones; checked in f64.
  CaseFunction composite;
  // Terms per sum, forward or backward: f32 tolerances grow with its square root.
  int64_t length = 1;
  // f32 kernels through another algorithm than f64 ones (oneDNN, f32 sums): extra factor on tolerances.
  double slack = 1.0;
  double flops = 0;       // of forward, for the benchmark
  bool training = true;   // batch statistics and power iterations, or stored ones
};

// Each returns an empty string, or what went wrong and where.
std::string check_forward_f32(const OpCase& c);      // f32 against f64
std::string check_composite(const OpCase& c);        // f64 against the composite, outputs and gradients
std::string check_gradient(const OpCase& c);         // f64 against central differences
std::string check_gradient_f32(const OpCase& c);     // f32 against f64
std::string check_accumulate(const OpCase& c);       // gradients added to what a buffer holds
std::string check_guards(const OpCase& c);           // no write outside a block, no read of fresh memory
std::string check_repeatable(const OpCase& c);       // equal bits with 1, 2 and 3 threads, and again

// All of them, in this order; the first failure.
std::string check_all(const OpCase& c);

// Inputs as tensors of `dtype`; values are those of f32 in both, so that f32 and f64 compute the same.
std::vector<Tensor> case_inputs(const Context& ctx, const OpCase& c, DType dtype);

// What a case computes: outputs, and the gradients of a fixed random linear function of them.
struct CaseResult {
  std::vector<std::vector<double>> outputs, gradients;
};
struct RunOptions {
  DType dtype = DType::kF64;
  int threads = 1;
  double prefill = 0.0;      // gradient buffers hold this ...
  bool accumulate = false;   // ... and are added to
  bool guarded = false;
  const CaseFunction* function = nullptr;  // the composite, if not `run`
};
CaseResult run_case(const OpCase& c, const RunOptions& options);

// The cases of all families.
std::vector<OpCase> all_cases();
std::vector<OpCase> elementwise_cases();
std::vector<OpCase> linear_cases();
std::vector<OpCase> conv_cases();
std::vector<OpCase> norm_cases();
std::vector<OpCase> spatial_cases();
std::vector<OpCase> attention_cases();

}  // namespace bigbigan
