#include "tests/harness/checks.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "tests/harness/values.h"

namespace bigbigan {
namespace {

using Values = std::vector<double>;
using ValueLists = std::vector<Values>;

constexpr double kStep = 1e-5;    // of central differences
constexpr double kPrefill = 7.0;  // what gradient buffers hold before they are added to

// Note [Tolerances]: a sum of `length` rounded terms is off by about eps sqrt(length) of its scale,
// and the worst of 1e5 such elements by four to five times as much; 8 covers that and a few
// roundings more. `slack` belongs to the operation. Limits are relative to the largest element of
// the expected list.
double tolerance(const OpCase& c, DType dtype) {
  const double eps = dtype == DType::kF32 ? std::numeric_limits<float>::epsilon()
                                          : std::numeric_limits<double>::epsilon();
  return 8 * c.slack * eps * std::sqrt(static_cast<double>(c.length));
}

double largest(const Values& values) {
  double most = 0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

// Empty, or where two lists differ by more than `limit` times the scale of the expected one.
std::string compare(const char* what, const ValueLists& found, const ValueLists& expected,
                    double relative, double least_scale = 0) {
  for (size_t k = 0; k < expected.size(); ++k) {
    if (found[k].size() != expected[k].size()) {
      return fmt::format("{} {}: {} elements, expected {}", what, k, found[k].size(),
                         expected[k].size());
    }
    const double limit = relative * std::max(largest(expected[k]), least_scale);
    for (size_t i = 0; i < expected[k].size(); ++i) {
      if (!(std::abs(found[k][i] - expected[k][i]) <= limit)) {
        return fmt::format("{} {} element {}: {:.9g}, expected {:.9g} (limit {:.3g})", what, k, i,
                           found[k][i], expected[k][i], limit);
      }
    }
  }
  return {};
}

ValueLists less(ValueLists lists, double subtrahend) {
  for (Values& list : lists) {
    for (double& v : list) v -= subtrahend;
  }
  return lists;
}

bool same_bits(const ValueLists& a, const ValueLists& b) {
  if (a.size() != b.size()) return false;
  for (size_t k = 0; k < a.size(); ++k) {
    if (a[k].size() != b[k].size()) return false;
    if (!a[k].empty() && std::memcmp(a[k].data(), b[k].data(), a[k].size() * sizeof(double)) != 0) {
      return false;
    }
  }
  return true;
}

bool same_bits(const CaseResult& a, const CaseResult& b) {
  return same_bits(a.outputs, b.outputs) && same_bits(a.gradients, b.gradients);
}

std::string report(const OpCase& c, const char* check, const std::string& failure) {
  return failure.empty() ? failure : fmt::format("{} [{}] {}", c.name, check, failure);
}

std::string forward_f32(const OpCase& c, const CaseResult& f32, const CaseResult& f64) {
  return report(c, "forward f32",
                compare("output", f32.outputs, f64.outputs, tolerance(c, DType::kF32)));
}

std::string gradient_f32(const OpCase& c, const CaseResult& f32, const CaseResult& f64) {
  // A backward pass is a chain of sums: its own, and those of what forward saved.
  const double limit = 4 * tolerance(c, DType::kF32);
  return report(c, "gradient f32",
                compare("gradient", f32.gradients, f64.gradients, limit, c.gradient_scale));
}

std::string values_bf16(const OpCase& c, const CaseResult& bf16, const CaseResult& f64) {
  // Sums are formed in f32: what counts is the rounding of what is stored, whatever the length.
  const double limit = 8 * c.slack * 0x1p-8;
  std::string failure = compare("output", bf16.outputs, f64.outputs, limit);
  if (failure.empty()) {
    failure = compare("gradient", bf16.gradients, f64.gradients, 2 * limit, c.gradient_scale);
  }
  return report(c, "bf16", failure);
}

// Relative to the largest element of the expected list.
double largest_error(const ValueLists& found, const ValueLists& expected, double least_scale = 0) {
  double worst = 0;
  for (size_t k = 0; k < expected.size(); ++k) {
    const double scale = std::max(largest(expected[k]), least_scale);
    for (size_t i = 0; i < expected[k].size(); ++i) {
      const double error = std::abs(found[k][i] - expected[k][i]);
      if (error > 0) worst = std::max(worst, error / scale);
    }
  }
  return worst;
}

// The value whose gradient a case takes, as a function of its inputs.
class Objective {
 public:
  explicit Objective(const OpCase& c)
      : case_(c),
        ctx_{.exec = CpuExec{},
             .allocator = &host_,
             .dtype = DType::kF64,
             .batch_statistics = c.training,
             .power_iteration = c.training},
        inputs_(case_inputs(ctx_, c, DType::kF64)) {
    const Outputs outputs = c.run(ctx_, std::vector<Var>(inputs_.begin(), inputs_.end()));
    for (size_t k = 0; k < outputs.size(); ++k) {
      weights_.push_back(cotangent(c, k, outputs[k].value.elems()));
    }
  }

  // The derivative along `direction` of input `i`, by central differences.
  double slope(size_t i, const Values& direction, double step) const {
    const double up = shifted(i, direction, step), down = shifted(i, direction, -step);
    return (up - down) / (2 * step);
  }

 private:
  double shifted(size_t i, const Values& direction, double step) const {
    std::vector<Var> vars(inputs_.begin(), inputs_.end());
    Values at = read(inputs_[i]);
    for (size_t k = 0; k < direction.size(); ++k) at[k] += step * direction[k];
    vars[i] = tensor_of(ctx_, inputs_[i].shape(), DType::kF64, at);
    const Outputs outputs = case_.run(ctx_, vars);
    long double sum = 0;
    for (size_t k = 0; k < outputs.size(); ++k) {
      const Values y = read(outputs[k].value);
      for (size_t j = 0; j < y.size(); ++j) sum += static_cast<long double>(y[j]) * weights_[k][j];
    }
    return static_cast<double>(sum);
  }

  const OpCase& case_;
  HostAllocator host_;
  Context ctx_;
  std::vector<Tensor> inputs_;
  ValueLists weights_;  // of the outputs
};

// Unit vectors along which the gradient of `elems` elements is checked: every axis while they are
// few, else random directions, in which every element has a part.
std::vector<Values> directions(int64_t elems, std::mt19937_64& random) {
  constexpr int64_t kFew = 100, kRandomDirections = 12;
  std::vector<Values> list(elems <= kFew ? elems : kRandomDirections, Values(elems, 0.0));
  for (size_t d = 0; d < list.size(); ++d) {
    if (elems <= kFew) {
      list[d][d] = 1;
      continue;
    }
    double squares = 0;
    for (double& v : list[d]) {
      v = standard_normal(random);
      squares += v * v;
    }
    for (double& v : list[d]) v /= std::sqrt(squares);
  }
  return list;
}

// Relative to the largest element of a gradient. Differences of values near an offset carry its
// rounding.
double gradient_tolerance(const OpCase& c) {
  double offset = 0;
  for (const CaseInput& input : c.inputs) offset = std::max(offset, std::abs(input.offset));
  return 1e-7 + offset / kStep * tolerance(c, DType::kF64);
}

// The slope next to `expected`. Where a ReLU or a maximum bends between the two points the
// difference is wrong: a smaller step does not reach the bend. A wrong gradient stays wrong with
// every step.
double nearest_slope(const Objective& objective, size_t input, const Values& direction,
                     double expected, double limit) {
  double found = 0;
  for (const double step : {kStep, kStep / 10, kStep / 100}) {
    found = objective.slope(input, direction, step);
    if (std::abs(found - expected) <= limit) break;
  }
  return found;
}

}  // namespace

std::string check_forward_f32(const OpCase& c) {
  return forward_f32(c, run_case(c, {.dtype = DType::kF32}), run_case(c, {}));
}

std::string check_composite(const OpCase& c) {
  if (!c.composite) return {};
  const CaseResult fused = run_case(c, {}), simple = run_case(c, {.function = &c.composite});
  const double limit = 2 * tolerance(c, DType::kF64);  // both are rounded
  std::string failure = compare("output", fused.outputs, simple.outputs, limit);
  if (failure.empty()) failure = compare("gradient", fused.gradients, simple.gradients, 4 * limit);
  return report(c, "composite", failure);
}

std::string check_gradient(const OpCase& c) {
  const CaseResult analytic = run_case(c, {});
  const Objective objective(c);
  std::mt19937_64 random = random_of(c, 1);
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    if (!c.inputs[i].wants_gradient) continue;
    const Values& gradient = analytic.gradients[i];
    const double limit = gradient_tolerance(c) * std::max(largest(gradient), 1e-3);
    int number = 0;
    for (const Values& direction : directions(c.inputs[i].shape.elems(), random)) {
      double expected = 0;
      for (size_t k = 0; k < direction.size(); ++k) expected += gradient[k] * direction[k];
      const double found = nearest_slope(objective, i, direction, expected, limit);
      if (!(std::abs(found - expected) <= limit)) {
        return report(
            c, "gradient",
            fmt::format("{} along direction {}: {:.9g}, finite difference {:.9g} (limit {:.3g})",
                        c.inputs[i].name, number, expected, found, limit));
      }
      ++number;
    }
  }
  return {};
}

std::string check_gradient_f32(const OpCase& c) {
  return gradient_f32(c, run_case(c, {.dtype = DType::kF32}), run_case(c, {}));
}

std::string check_values(const OpCase& c, DType dtype, double& worst_error, const AnyExec* exec,
                         Allocator* allocator) {
  const bool is_bf16 = dtype == DType::kBF16;
  const CaseResult f64 = run_case(c, {.rounded = is_bf16});
  const CaseResult found =
      run_case(c, {.dtype = dtype, .rounded = is_bf16, .exec = exec, .allocator = allocator});
  worst_error = std::max(largest_error(found.outputs, f64.outputs),
                         largest_error(found.gradients, f64.gradients, c.gradient_scale));
  if (is_bf16) return values_bf16(c, found, f64);
  std::string failure = forward_f32(c, found, f64);
  return failure.empty() ? gradient_f32(c, found, f64) : failure;
}

std::string check_accumulate(const OpCase& c) {
  const CaseResult clean = run_case(c, {}), over = run_case(c, {.prefill = kPrefill});
  const ValueLists added =
      less(run_case(c, {.prefill = kPrefill, .accumulate = true}).gradients, kPrefill);
  const double limit = 4 * tolerance(c, DType::kF64);
  std::string failure = compare("overwritten gradient", over.gradients, clean.gradients, 0);
  if (failure.empty()) {
    failure = compare("accumulated gradient", added, clean.gradients, limit, kPrefill);
  }
  return report(c, "accumulate", failure);
}

std::string check_partial(const OpCase& c) {
  const CaseResult all = run_case(c, {.dtype = DType::kF32});
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    if (!c.inputs[i].wants_gradient) continue;
    const CaseResult one = run_case(c, {.dtype = DType::kF32, .only_input = static_cast<int>(i)});
    if (!same_bits({one.gradients[i]}, {all.gradients[i]})) {
      return report(c, "partial",
                    fmt::format("the gradient of {} is another when it is the only one wanted",
                                c.inputs[i].name));
    }
  }
  return {};
}

std::string check_guards(const OpCase& c) {
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    const CaseResult plain = run_case(c, {.dtype = dtype});
    const CaseResult guarded = run_case(c, {.dtype = dtype, .guarded = true});
    if (!guarded.damage.empty()) return report(c, "guards", guarded.damage);
    if (!same_bits(guarded, plain)) {
      return report(c, "guards", "fresh memory was read: other values when it holds NaN");
    }
  }
  return {};
}

std::string check_repeatable(const OpCase& c) {
  const CaseResult one = run_case(c, {.dtype = DType::kF32});
  for (const int threads : {1, 2, 3}) {
    if (!same_bits(run_case(c, {.dtype = DType::kF32, .threads = threads}), one)) {
      return report(c, "repeatable", fmt::format("other bits with {} threads", threads));
    }
  }
  return {};
}

std::string check_backend(const OpCase& c, const AnyExec& exec, Allocator& allocator) {
  const RunOptions plain{
      .dtype = DType::kF32, .guarded = true, .exec = &exec, .allocator = &allocator};
  RunOptions adding = plain;
  adding.prefill = kPrefill;
  adding.accumulate = true;
  const CaseResult f64 = run_case(c, {}), f32 = run_case(c, plain);
  for (const std::string& failure :
       {report(c, "guards", f32.damage), forward_f32(c, f32, f64), gradient_f32(c, f32, f64)}) {
    if (!failure.empty()) return failure;
  }
  if (!same_bits(run_case(c, plain), f32)) return report(c, "repeatable", "other bits again");
  const ValueLists added = less(run_case(c, adding).gradients, kPrefill);
  return report(c, "accumulate",
                compare("accumulated gradient", added, f64.gradients, 4 * tolerance(c, DType::kF32),
                        std::max(kPrefill, c.gradient_scale)));
}

std::string check_bf16(const OpCase& c, const AnyExec* exec, Allocator* allocator) {
  const RunOptions options{.dtype = DType::kBF16,
                           .rounded = true,
                           .guarded = true,
                           .exec = exec,
                           .allocator = allocator};
  const CaseResult f64 = run_case(c, {.rounded = true}), found = run_case(c, options);
  for (const std::string& failure : {report(c, "bf16", found.damage), values_bf16(c, found, f64)}) {
    if (!failure.empty()) return failure;
  }
  return same_bits(run_case(c, options), found) ? "" : report(c, "bf16", "other bits again");
}

std::string check_all(const OpCase& c) {
  for (const auto check : {check_forward_f32, check_composite, check_gradient, check_gradient_f32,
                           check_accumulate, check_partial, check_guards, check_repeatable}) {
    if (std::string failure = check(c); !failure.empty()) return failure;
  }
  return check_bf16(c);
}

}  // namespace bigbigan
