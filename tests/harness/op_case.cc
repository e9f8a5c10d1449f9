#include "tests/harness/op_case.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numbers>
#include <random>

#include "engine/util/thread_pool.h"
#include "tests/harness/guard_allocator.h"
#include "tests/harness/values.h"

namespace bigbigan {
namespace {

// FNV-1a, 64 bits: the same seed with every standard library.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return hash;
}

std::vector<double> values_of(const CaseInput& input, std::mt19937_64& random) {
  std::vector<double> values(input.shape.elems());
  for (double& v : values) {
    v = input.offset + input.scale * standard_normal(random);
    const double distance = v - input.kink;
    if (std::abs(distance) < input.kink_margin) {
      v = input.kink + std::copysign(input.kink_margin + std::abs(distance), distance);
    }
    v = static_cast<double>(static_cast<float>(v));
  }
  return values;
}

void round_to_bf16(std::vector<double>& values) {
  for (double& v : values) v = static_cast<double>(bf16(static_cast<float>(v)));
}

// Forward and backward of a case, with everything that lives until the end of it.
class CaseRun {
 public:
  CaseRun(const OpCase& c, const RunOptions& options, Allocator& allocator)
      : case_(c), options_(options), pool_(options.threads) {
    ctx_ = {.exec = options.exec != nullptr ? *options.exec : AnyExec(CpuExec{&pool_}),
            .allocator = &allocator,
            .dtype = options.dtype,
            .batch_statistics = c.training,
            .power_iteration = c.training};
    inputs_ = case_inputs(ctx_, c, options.dtype, options.rounded);
  }

  void run(CaseResult& result) {
    Tape tape;
    const Outputs outputs =
        (options_.function ? *options_.function : case_.run)(ctx_.with_tape(&tape), leaves(tape));
    for (size_t k = 0; k < outputs.size(); ++k) {
      result.outputs.push_back(read(outputs[k].value));
      if (outputs[k].slot == Var::kConstant) continue;
      const DType dtype = case_.makes_weights ? master_dtype(options_.dtype) : outputs[k].dtype();
      const Tensor seed = Tensor::empty(ctx_, outputs[k].shape(), dtype);
      std::vector<double> values = cotangent(case_, k, seed.elems());
      if (options_.rounded) round_to_bf16(values);
      write(seed, values);
      tape.seed(outputs[k], seed);
    }
    tape.backward(ctx_);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      result.gradients.push_back(wants(i) ? read(gradients_[i]) : std::vector<double>());
    }
    check_inputs(result);
  }

 private:
  [[nodiscard]] bool wants(size_t i) const {
    return case_.inputs[i].wants_gradient &&
           (options_.only_input < 0 || options_.only_input == static_cast<int>(i));
  }

  std::vector<Var> leaves(Tape& tape) {
    std::vector<Var> vars(inputs_.begin(), inputs_.end());
    gradients_.resize(inputs_.size());
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (!wants(i)) continue;
      const bool is_activation = case_.inputs[i].role == Role::kActivation;
      gradients_[i] = Tensor::empty(ctx_, inputs_[i].shape(),
                                    is_activation ? options_.dtype : master_dtype(options_.dtype));
      write(gradients_[i], std::vector<double>(inputs_[i].elems(), options_.prefill));
      vars[i] = tape.leaf(inputs_[i], gradients_[i].view(), options_.accumulate);
    }
    return vars;
  }

  void check_inputs(CaseResult& result) const {
    const std::vector<Tensor> fresh = case_inputs(ctx_, case_, options_.dtype, options_.rounded);
    for (size_t i = 0; i < inputs_.size(); ++i) {
      if (read(inputs_[i]) != read(fresh[i])) {
        result.damage = fmt::format("input {} was written to", case_.inputs[i].name);
      }
    }
  }

  const OpCase& case_;
  const RunOptions& options_;
  ThreadPool pool_;
  Context ctx_;
  std::vector<Tensor> inputs_, gradients_;
};

}  // namespace

std::string dims(const Shape& shape) { return fmt::format("{}", fmt::join(shape.dims(), "x")); }

std::mt19937_64 random_of(const OpCase& c, uint64_t purpose) {
  return std::mt19937_64(hash_of(c.name) + purpose);
}

// Box-Muller: std::normal_distribution draws other numbers with every standard library.
double standard_normal(std::mt19937_64& random) {
  const auto uniform = [&] { return (static_cast<double>(random() >> 11) + 0.5) * 0x1p-53; };
  const double radius = std::sqrt(-2 * std::log(uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

std::vector<double> cotangent(const OpCase& c, size_t k, int64_t elems) {
  if (c.is_loss) {
    std::vector<double> first(elems, 0.0);
    first.at(0) = 1.0;
    return first;
  }
  std::mt19937_64 random = random_of(c, 1000 + k);
  return values_of({.name = "cotangent", .shape = {elems}}, random);
}

CaseInput parameter(const std::string& name, const Shape& shape) {
  return {.name = name, .shape = shape, .role = Role::kParameter};
}

CaseInput master(const std::string& name, const Shape& shape) {
  return {.name = name, .shape = shape, .role = Role::kMaster};
}

std::vector<Tensor> case_inputs(const Context& ctx, const OpCase& c, DType dtype, bool rounded) {
  std::mt19937_64 random = random_of(c, 0);
  std::vector<Tensor> tensors;
  for (const CaseInput& input : c.inputs) {
    const bool is_master = input.role == Role::kMaster;
    std::vector<double> values = values_of(input, random);
    if (rounded && !is_master) round_to_bf16(values);
    tensors.push_back(Tensor::empty(ctx, input.shape, is_master ? master_dtype(dtype) : dtype));
    write(tensors.back(), values);
  }
  return tensors;
}

CaseResult run_case(const OpCase& c, const RunOptions& options) {
  HostAllocator host;
  Allocator& base = options.allocator != nullptr ? *options.allocator : host;
  GuardAllocator guard(base);
  guard.abort_on_damage = false;
  CaseResult result;
  CaseRun(c, options, options.guarded ? static_cast<Allocator&>(guard) : base).run(result);
  if (guard.damaged() > 0) {
    result.damage = fmt::format("a write outside a block: {} guard bands damaged", guard.damaged());
  }
  return result;
}

std::vector<OpCase> all_cases() {
  std::vector<OpCase> cases;
  for (const auto family : {elementwise_cases, linear_cases, conv_cases, norm_cases, spatial_cases,
                            attention_cases, loss_cases}) {
    for (OpCase& c : family()) cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace bigbigan
