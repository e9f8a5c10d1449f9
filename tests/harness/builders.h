// Makers of op cases: the tests use them with small odd sizes, the benchmark with those of a model.
#pragma once

#include "engine/ops/norm.h"
#include "tests/harness/op_case.h"

namespace bigbigan {

using Inputs = std::span<const Var>;

using UnaryFunction = std::function<Var(const Context&, const Var&)>;
OpCase unary_case(const std::string& op, const Shape& x, const UnaryFunction& function);
using BinaryFunction = std::function<Var(const Context&, const Var&, const Var&)>;
OpCase binary_case(const std::string& op, const Shape& a, const Shape& b,
                   const BinaryFunction& function);

struct ConvSpec {
  int64_t n, h, w, c, k, kernel, stride, pad;
  bool bias = true, relu = false;
};
OpCase conv_case(const ConvSpec& spec);
// 4x4, stride 2, pad 1: x (n, hw, hw, c) -> (n, 2 hw, 2 hw, k)
OpCase transposed_case(int64_t n, int64_t hw, int64_t c, int64_t k);
OpCase linear_case(int64_t n, int64_t in, int64_t out, bool bias);

enum class Gain { kNone, kAffine, kConditional };
struct BnSpec {
  Shape x;
  Gain gain = Gain::kAffine;
  BatchNormOptions options;
  double mean = 0.5;
  bool training = true;  // batch statistics, or stored ones
};
OpCase bn_case(const BnSpec& spec);
// Of spectral norm: none, sigma = |u W| from the stored u; one; or as many as u needs to come to
// rest. In training u and v are constants of the gradient, so finite differences agree with it at
// rest only.
enum class PowerIterations { kNone, kOne, kConverged };
// All weights normalised in one call.
OpCase spectral_case(const std::vector<Shape>& weights, PowerIterations iterations);

OpCase pool_case(const std::string& op, const Shape& x);
OpCase add_upsampled_case(const Shape& small);
// Logits of standard deviation `scale`: if they are far apart they must not overflow. One label in
// seven is no class.
OpCase cross_entropy_case(int64_t rows, int64_t classes, double scale);
OpCase reparametrize_case(int64_t n, int64_t width);

}  // namespace bigbigan
