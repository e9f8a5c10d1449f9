#include "tests/harness/op_case.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "engine/util/thread_pool.h"
#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

uint64_t seed_of(const std::string& name) { return std::hash<std::string>{}(name); }

std::vector<double> values_of(const CaseInput& input, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::vector<double> values(input.shape.elems());
  for (double& v : values) {
    v = input.offset + input.scale * normal(random);
    if (std::abs(v) < input.kink) v = v < 0 ? v - input.kink : v + input.kink;
    v = static_cast<double>(static_cast<float>(v));
  }
  return values;
}

std::vector<double> read(const Tensor& t) {
  std::vector<double> values(t.elems());
  dispatch_real("harness", t.dtype(), [&]<class T>(TypeTag<T>) {
    std::copy_n(t.as<T>(), t.elems(), values.begin());
  });
  return values;
}

void write(const Tensor& t, std::span<const double> values) {
  dispatch_real("harness", t.dtype(), [&]<class T>(TypeTag<T>) {
    for (int64_t i = 0; i < t.elems(); ++i) t.as<T>()[i] = static_cast<T>(values[i]);
  });
}

// Weights of the linear function of the outputs whose gradient is taken.
std::vector<double> cotangent(const OpCase& c, size_t output, int64_t elems) {
  std::mt19937_64 random(seed_of(c.name) + 1000 + output);
  return values_of({.name = "cotangent", .shape = {elems}}, random);
}

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

// Empty, or where two lists differ by more than `tolerance` times the scale of the expected one.
std::string compare(const char* what, const std::vector<std::vector<double>>& found,
                    const std::vector<std::vector<double>>& expected, double tolerance,
                    double least_scale = 1e-30) {
  for (size_t k = 0; k < expected.size(); ++k) {
    if (found[k].size() != expected[k].size()) {
      return fmt::format("{} {}: {} elements, expected {}", what, k, found[k].size(), expected[k].size());
    }
    const double limit = tolerance * std::max(largest(expected[k]), least_scale);
    for (size_t i = 0; i < expected[k].size(); ++i) {
      if (!(std::abs(found[k][i] - expected[k][i]) <= limit)) {
        return fmt::format("{} {} element {}: {:.9g}, expected {:.9g} (limit {:.3g})", what, k, i,
                           found[k][i], expected[k][i], limit);
      }
    }
  }
  return {};
}

double f32_tolerance(const OpCase& c) {
  return 8 * c.slack * std::numeric_limits<float>::epsilon() * std::sqrt(static_cast<double>(c.length));
}

// The linear function's value, for finite differences.
double objective(const OpCase& c, const Context& ctx, const std::vector<Tensor>& inputs) {
  const std::vector<Var> vars(inputs.begin(), inputs.end());
  const Outputs outputs = c.run(ctx, vars);
  double sum = 0;
  for (size_t k = 0; k < outputs.size(); ++k) {
    const std::vector<double> y = read(outputs[k].value), w = cotangent(c, k, outputs[k].value.elems());
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * w[i];
  }
  return sum;
}

std::string prefixed(const OpCase& c, const char* check, const std::string& failure) {
  return failure.empty() ? failure : fmt::format("{} [{}] {}", c.name, check, failure);
}

}  // namespace

std::vector<Tensor> case_inputs(const Context& ctx, const OpCase& c, DType dtype) {
  std::mt19937_64 random(seed_of(c.name));
  std::vector<Tensor> tensors;
  for (const CaseInput& input : c.inputs) {
    tensors.push_back(Tensor::empty(ctx, input.shape, dtype));
    write(tensors.back(), values_of(input, random));
  }
  return tensors;
}

CaseResult run_case(const OpCase& c, const RunOptions& o) {
  HostAllocator host;
  GuardAllocator guarded(host);
  ThreadPool pool(o.threads);
  Context ctx{.exec = CpuExec{&pool}, .allocator = &host, .dtype = o.dtype,
              .batch_statistics = c.training, .power_iteration = c.training};
  if (o.guarded) ctx.allocator = &guarded;

  const std::vector<Tensor> inputs = case_inputs(ctx, c, o.dtype);
  Tape tape;
  std::vector<Tensor> gradients;
  std::vector<Var> vars;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Var var = inputs[i];
    gradients.push_back(Tensor::empty(ctx, inputs[i].shape(), o.dtype));
    write(gradients[i], std::vector<double>(inputs[i].elems(), o.prefill));
    if (c.inputs[i].wants_gradient) {
      var = tape.leaf(inputs[i], gradients[i].view(), o.accumulate, static_cast<int64_t>(i));
    }
    vars.push_back(var);
  }
  const Outputs outputs = (o.function ? *o.function : c.run)(ctx.with_tape(&tape), vars);
  CaseResult result;
  for (size_t k = 0; k < outputs.size(); ++k) {
    result.outputs.push_back(read(outputs[k].value));
    const Tensor seed = Tensor::empty(ctx, outputs[k].shape(), o.dtype);
    write(seed, cotangent(c, k, seed.elems()));
    if (outputs[k].slot != Var::kConstant) tape.seed(outputs[k], seed);
  }
  tape.backward(ctx);
  for (size_t i = 0; i < inputs.size(); ++i) {
    result.gradients.push_back(c.inputs[i].wants_gradient ? read(gradients[i]) : std::vector<double>());
  }
  return result;
}

std::string check_forward_f32(const OpCase& c) {
  const CaseResult f32 = run_case(c, {.dtype = DType::kF32}), f64 = run_case(c, {});
  return prefixed(c, "forward f32", compare("output", f32.outputs, f64.outputs, f32_tolerance(c)));
}

std::string check_composite(const OpCase& c) {
  if (!c.composite) return {};
  const CaseResult fused = run_case(c, {}), simple = run_case(c, {.function = &c.composite});
  std::string failure = compare("output", fused.outputs, simple.outputs, 1e-12);
  if (failure.empty()) failure = compare("gradient", fused.gradients, simple.gradients, 1e-11);
  return prefixed(c, "composite", failure);
}

std::string check_gradient(const OpCase& c) {
  constexpr double kStep = 1e-5;
  constexpr int64_t kElementsPerInput = 24;
  const CaseResult analytic = run_case(c, {});
  HostAllocator host;
  const Context ctx{.exec = CpuExec{}, .allocator = &host, .dtype = DType::kF64,
                    .batch_statistics = c.training, .power_iteration = c.training};
  std::mt19937_64 random(seed_of(c.name) + 1);
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    if (!c.inputs[i].wants_gradient) continue;
    const int64_t elems = c.inputs[i].shape.elems();
    const double scale = std::max(largest(analytic.gradients[i]), 1e-3);
    for (int64_t trial = 0; trial < std::min(elems, kElementsPerInput); ++trial) {
      const auto at = elems <= kElementsPerInput ? trial : static_cast<int64_t>(random() % elems);
      const auto shifted = [&](double step) {
        const std::vector<Tensor> inputs = case_inputs(ctx, c, DType::kF64);
        inputs[i].as<double>()[at] += step;
        return objective(c, ctx, inputs);
      };
      const double numeric = (shifted(kStep) - shifted(-kStep)) / (2 * kStep);
      if (!(std::abs(numeric - analytic.gradients[i][at]) <= 1e-6 * scale)) {
        return prefixed(c, "gradient", fmt::format("{} element {}: {:.9g}, finite difference {:.9g}",
                                                   c.inputs[i].name, at, analytic.gradients[i][at],
                                                   numeric));
      }
    }
  }
  return {};
}

std::string check_gradient_f32(const OpCase& c) {
  const CaseResult f32 = run_case(c, {.dtype = DType::kF32}), f64 = run_case(c, {});
  return prefixed(c, "gradient f32",
                  compare("gradient", f32.gradients, f64.gradients, 4 * f32_tolerance(c)));
}

std::string check_accumulate(const OpCase& c) {
  constexpr double kPrefill = 7.0;
  const CaseResult plain = run_case(c, {.prefill = kPrefill});
  CaseResult added = run_case(c, {.prefill = kPrefill, .accumulate = true});
  for (auto& gradient : added.gradients) {
    for (double& v : gradient) v -= kPrefill;
  }
  return prefixed(c, "accumulate",
                  compare("gradient", added.gradients, plain.gradients, 1e-12, kPrefill));
}

std::string check_guards(const OpCase& c) {
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const CaseResult result = run_case(c, {.dtype = dtype, .guarded = true});
    for (const auto* list : {&result.outputs, &result.gradients}) {
      for (const auto& values : *list) {
        for (const double v : values) {
          if (!std::isfinite(v)) return prefixed(c, "guards", "fresh memory was read: a value is NaN");
        }
      }
    }
  }
  return {};
}

std::string check_repeatable(const OpCase& c) {
  const CaseResult one = run_case(c, {.dtype = DType::kF32});
  for (const int threads : {1, 2, 3}) {
    const CaseResult again = run_case(c, {.dtype = DType::kF32, .threads = threads});
    if (again.outputs != one.outputs || again.gradients != one.gradients) {
      return prefixed(c, "repeatable", fmt::format("other bits with {} threads", threads));
    }
  }
  return {};
}

std::string check_all(const OpCase& c) {
  for (const auto check : {check_forward_f32, check_composite, check_gradient, check_gradient_f32,
                           check_accumulate, check_guards, check_repeatable}) {
    if (std::string failure = check(c); !failure.empty()) return failure;
  }
  return {};
}

std::vector<OpCase> all_cases() {
  std::vector<OpCase> cases;
  for (const auto family : {elementwise_cases, linear_cases, conv_cases, norm_cases, spatial_cases,
                            attention_cases}) {
    for (OpCase& c : family()) cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace bigbigan
