#include "engine/ops/norm.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/ops/elementwise.h"
#include "engine/ops/spatial.h"
#include "kernels/elementwise/unary.h"
#include "tests/harness/builders.h"
#include "tests/harness/values.h"
#include "tests/harness/weight_gradients.h"

namespace bigbigan {
namespace {

Tensor filled(const Context& ctx, const std::vector<double>& values) {
  return tensor_of(ctx, {static_cast<int64_t>(values.size())}, master_dtype(ctx.dtype), values);
}

// batch_norm of the case's inputs: x and, if given, gain and bias. Stored variances differ by
// channel.
Var normalise(const Context& ctx, Inputs v, const BatchNormOptions& options) {
  const int64_t c = v[0].shape()[-1];
  std::vector<double> variance(c);
  for (int64_t i = 0; i < c; ++i) variance[i] = 1.0 + 0.25 * static_cast<double>(i % 3);
  return batch_norm(ctx, v[0], v.size() > 1 ? v[1] : Var(), v.size() > 2 ? v[2] : Var(),
                    filled(ctx, std::vector<double>(c, 0.1)), filled(ctx, variance), options);
}

std::string name_of_case(const BnSpec& s) {
  constexpr std::array<const char*, 3> kGains = {"none", "affine", "conditional"};
  return fmt::format("batch_norm/x:{}/gain:{}/relu:{:d}/up:{:d}/mean:{}/stored:{:d}", dims(s.x),
                     kGains[static_cast<size_t>(s.gain)], s.options.relu, s.options.upsample,
                     s.mean, !s.training);
}

// Units of the spectral case's start vector.
std::vector<double> start_vector(int64_t rows) {
  std::vector<double> u(rows);
  for (int64_t i = 0; i < rows; ++i) {
    u[i] = (1.0 + static_cast<double>(i % 3)) / std::sqrt(4.7 * static_cast<double>(rows));
  }
  return u;
}

SpectralWeight spectral_weight(const Context& ctx, const Tensor& w) {
  const int64_t rows = w.shape()[0];
  const auto fresh = [&](int64_t n) { return Tensor::zeros(ctx, {n}, w.dtype()); };
  return {.w = w,
          .u = filled(ctx, start_vector(rows)),
          .v = fresh(rows == 0 ? 0 : w.elems() / rows),
          .sigma = fresh(1),
          .dtype = ctx.dtype};
}

// `normalized` as functions of the weights, with the gradients that the optimiser forms.
Outputs with_gradients(const Context& ctx, Inputs inputs,
                       const std::vector<SpectralWeight>& weights,
                       const std::vector<Tensor>& normalized) {
  if (ctx.tape == nullptr) return {normalized.begin(), normalized.end()};
  const auto backward = [weights](Backward& b) {
    for (int i = 0; i < static_cast<int>(weights.size()); ++i) {
      if (!b.wants(i) || !b.has(i)) continue;
      const auto& [w, u, v, sigma, dtype] = weights[i];
      const Shape flat{w.elems()};
      const Tensor a = Tensor::empty(b.ctx, flat, w.dtype());
      b.ctx.run([&](const auto& ex) { scale(ex, b.d_output(i), 1.0, a, false); });
      const NormalizedWeights one{.list = {{.begin = 0, .u = u, .v = v}}, .sigmas = sigma};
      const Tensor gradient = weight_gradients(b.ctx, w.reshape(flat), a, one);
      const GradTarget d = b.grad(i);
      b.ctx.run([&](const auto& ex) { scale(ex, gradient, 1.0, d.view, d.accumulate); });
    }
  };
  return ctx.tape->record("spectral_norm", inputs, normalized, backward, master_dtype(ctx.dtype));
}

}  // namespace

OpCase bn_case(const BnSpec& s) {
  const int64_t n = s.x[0], c = s.x[-1];
  OpCase result{.name = name_of_case(s),
                .inputs = {{"x", s.x, 1.0, s.mean}},
                .run = [o = s.options](const Context& ctx,
                                       Inputs v) { return Outputs{normalise(ctx, v, o)}; },
                .length = std::max<int64_t>(1, s.x.elems() / c),
                .gradient_scale = s.training ? 1 / std::sqrt(1 + s.options.eps) : 0,
                .training = s.training};
  // x - mean loses the digits that the mean takes: an error of eps |mean| on values of deviation 1.
  result.slack =
      std::max(2.0, std::abs(s.mean) / (8 * std::sqrt(static_cast<double>(result.length))));
  if (s.gain != Gain::kNone) {
    const Shape shape = s.gain == Gain::kAffine ? Shape{c} : Shape{n, c};
    result.inputs.push_back({"gain", shape, 0.3, 1.0 - s.options.gain_offset});
    result.inputs.push_back({"bias", shape, 0.5});
    for (size_t i = 1; s.gain == Gain::kAffine && i < result.inputs.size(); ++i) {
      result.inputs[i].role = Role::kParameter;
    }
  }
  // The composite of simple operations: plain batch norm, then ReLU, then upsampling.
  if (s.options.relu || s.options.upsample) {
    result.composite = [o = s.options](const Context& ctx, Inputs v) {
      BatchNormOptions plain = o;
      plain.relu = plain.upsample = false;
      Var y = normalise(ctx, v, plain);
      if (o.relu) y = relu(ctx, y);
      return Outputs{o.upsample ? upsample2x(ctx, y) : y};
    };
  }
  return result;
}

OpCase spectral_case(const std::vector<Shape>& weights, PowerIterations iterations) {
  constexpr std::array<const char*, 3> kNames = {"spectral_norm_stored", "spectral_norm",
                                                 "spectral_norm_converged"};
  const int ahead = iterations == PowerIterations::kConverged ? 400 : 0;
  OpCase c{.name = fmt::format("{}/weights:{}/first:{}", kNames[static_cast<size_t>(iterations)],
                               weights.size(), dims(weights[0])),
           .inputs = {},
           .run =
               [ahead](const Context& ctx, Inputs v) {
                 std::vector<SpectralWeight> weights;
                 for (const Var& w : v) weights.push_back(spectral_weight(ctx, w.value));
                 for (int i = 0; i < ahead; ++i) spectral_norm(ctx, weights, 1e-4);
                 return with_gradients(ctx, v, weights, spectral_norm(ctx, weights, 1e-4));
               },
           .gradient_scale = 1,
           .training = iterations != PowerIterations::kNone,
           .makes_weights = true};
  for (size_t i = 0; i < weights.size(); ++i) {
    c.inputs.push_back(master(fmt::format("w{}", i), weights[i]));
    c.length = std::max(c.length, weights[i].elems());
  }
  return c;
}

std::vector<OpCase> norm_cases() {
  const BatchNormOptions plain{.eps = 1e-3};
  const BatchNormOptions affine_relu{.eps = 1e-3, .relu = true};
  const BatchNormOptions cbn{.eps = 1e-4, .gain_offset = 1.0, .relu = true};
  const BatchNormOptions cbn_up{.eps = 1e-4, .gain_offset = 1.0, .relu = true, .upsample = true};
  std::vector<OpCase> cases;
  for (const BnSpec& s : std::vector<BnSpec>{
           {{3, 1}, Gain::kNone, plain},
           {{1, 3}, Gain::kAffine, plain},
           {{5, 33}, Gain::kAffine, plain},
           {{2, 3, 5, 31}, Gain::kAffine, affine_relu},
           {{4, 8, 8, 8}, Gain::kConditional, cbn},
           {{3, 4, 4, 3}, Gain::kConditional, cbn_up},
           {{2, 2, 2, 300}, Gain::kConditional, cbn_up},
           {{2, 7, 5, 16}, Gain::kAffine, affine_relu, 0.5, false},
           {{3, 4, 4, 3}, Gain::kConditional, cbn_up, 0.5, false},
           {{0, 4, 4, 3}, Gain::kConditional, cbn},
           {{0, 4, 4, 3}, Gain::kConditional, cbn_up, 0.5, false},
           {{33, 9, 7, 24}, Gain::kAffine, affine_relu},
           {{4, 5, 7, 3}, Gain::kAffine, plain, 1e4},
           {{31, 3, 3, 33}, Gain::kConditional, {.eps = 1e-4, .gain_offset = 1.0}, -1e4},
       }) {
    cases.push_back(bn_case(s));
  }
  const std::vector<Shape> weights = {{5, 3, 3, 4}, {7, 31}, {1, 17}, {33, 1, 1, 2}};
  cases.push_back(spectral_case({{1, 1}}, PowerIterations::kConverged));
  cases.push_back(spectral_case(weights, PowerIterations::kNone));
  cases.push_back(spectral_case(weights, PowerIterations::kConverged));
  return cases;
}

}  // namespace bigbigan
