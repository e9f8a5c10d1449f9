// One object per operation and shape. It drives the checks of tests/harness/checks.h and the
// benchmark.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "engine/core/tape.h"

namespace bigbigan {

// Inputs are drawn from a generator seeded by the case's name: a failure can be replayed by name.
// What an input is where activations are bf16: Note [Master weights].
enum class Role : uint8_t {
  kActivation,  // value and gradient bf16
  kParameter,   // value bf16, gradient f32
  kMaster,      // both f32
};

struct CaseInput {
  std::string name;
  Shape shape;
  double scale = 1.0;  // standard deviation
  double offset = 0.0;
  bool wants_gradient = true;
  // No value lies closer than `kink_margin` to `kink`: finite differences must not step over it.
  double kink_margin = 0.0;
  double kink = 0.0;
  Role role = Role::kActivation;
};
CaseInput parameter(const std::string& name, const Shape& shape);
CaseInput master(const std::string& name, const Shape& shape);

using Outputs = std::vector<Var>;
using CaseFunction = std::function<Outputs(const Context&, std::span<const Var>)>;

struct OpCase {
  std::string name;  // "<op>/<key>:<value>/..."
  std::vector<CaseInput> inputs;
  CaseFunction run;
  // The same by simpler operations, for fused ones; compared in f64.
  CaseFunction composite;
  // Terms per sum, forward or backward: tolerances grow with its square root.
  int64_t length = 1;
  // What makes the operation more sensitive than a sum of `length` terms: a factor on tolerances.
  double slack = 1.0;
  // Size of the terms of a gradient that may cancel to nothing; 0: the gradient's own size.
  double gradient_scale = 0;
  double flops = 0;  // of forward, for the benchmark; backward counts twice as many
  // Batch statistics and power iterations, or stored ones.
  bool training = true;
  // The output is loss terms, of which element 0 is differentiated; otherwise the gradient is that
  // of a random linear function of all outputs.
  bool is_loss = false;
  // The outputs are weights: their gradients are f32 where activations are bf16.
  bool makes_weights = false;
};

// "4x8x8x3"
std::string dims(const Shape& shape);

// Inputs as tensors of `dtype`; values are those of f32 in both, so that f32 and f64 compute the
// same.
// `rounded`: those that bf16 holds, where an input is not a master.
std::vector<Tensor> case_inputs(const Context& ctx, const OpCase& c, DType dtype,
                                bool rounded = false);
// Weights of the linear function of output `k` whose gradient is taken.
std::vector<double> cotangent(const OpCase& c, size_t k, int64_t elems);
// A generator of the case's own for what a check draws; `purpose` tells checks apart.
std::mt19937_64 random_of(const OpCase& c, uint64_t purpose);
double standard_normal(std::mt19937_64& random);

// What a case computes: outputs and gradients of the inputs that want one (empty lists for the
// others).
struct CaseResult {
  std::vector<std::vector<double>> outputs, gradients;
  std::string damage;  // a write outside a block (where guarded) or into an input, or empty
};
struct RunOptions {
  DType dtype = DType::kF64;
  bool rounded = false;  // inputs, and gradients of outputs, have values that bf16 holds
  int threads = 1;
  double prefill = 0.0;                    // gradient buffers hold this ...
  bool accumulate = false;                 // ... and are added to
  bool guarded = false;                    // guard bands around blocks, NaN in fresh ones
  int only_input = -1;                     // the one input that wants a gradient; -1: all that do
  const CaseFunction* function = nullptr;  // the composite, if not `run`
  // Another backend than the CPU, and its memory; `threads` is then unused.
  const AnyExec* exec = nullptr;
  Allocator* allocator = nullptr;
};
CaseResult run_case(const OpCase& c, const RunOptions& options);

// The cases of each family, and of all.
std::vector<OpCase> elementwise_cases();
std::vector<OpCase> linear_cases();
std::vector<OpCase> conv_cases();
std::vector<OpCase> norm_cases();
std::vector<OpCase> spatial_cases();
std::vector<OpCase> attention_cases();
std::vector<OpCase> loss_cases();
std::vector<OpCase> all_cases();
// Shapes of the preset fmnist-32-tiny at batch 64, for the benchmark.
std::vector<OpCase> preset_cases();

}  // namespace bigbigan
