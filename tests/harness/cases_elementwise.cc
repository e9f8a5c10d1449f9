#include "engine/ops/elementwise.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/ops/random.h"
#include "tests/harness/builders.h"

namespace bigbigan {
namespace {

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> kShapes = {{1, 1}, {3, 31}, {2, 3, 5, 33}, {0, 7}, {2, 65, 257}};
  return kShapes;
}

int64_t rows_of(const Shape& s) { return std::max<int64_t>(1, s.elems() / s[-1]); }

OpCase scaled_weight_case(const Shape& s) {
  return {.name = "scaled_weight/shape:" + dims(s),
          .inputs = {master("w", s), master("gamma", {1})},
          .run = [](const Context& ctx,
                    Inputs in) { return Outputs{scaled_weight(ctx, in[0], in[1])}; },
          .length = s.elems() + 1,
          .makes_weights = true};
}

OpCase add_bias_case(const Shape& s) {
  OpCase c = binary_case("add_bias", s, {s[-1]}, add_bias);
  c.length = rows_of(s);
  return c;
}

}  // namespace

OpCase unary_case(const std::string& op, const Shape& x, const UnaryFunction& function) {
  return {
      .name = op + "/shape:" + dims(x),
      .inputs = {{"x", x}},
      .run = [function](const Context& ctx, Inputs in) { return Outputs{function(ctx, in[0])}; }};
}

OpCase binary_case(const std::string& op, const Shape& a, const Shape& b,
                   const BinaryFunction& function) {
  return {.name = op + "/shape:" + dims(a),
          .inputs = {{"a", a}, {"b", b}},
          .run = [function](const Context& ctx, Inputs in) {
            return Outputs{function(ctx, in[0], in[1])};
          }};
}

OpCase reparametrize_case(int64_t n, int64_t width) {
  return {.name = fmt::format("reparametrize/n:{}/z:{}", n, width),
          .inputs = {{"stats", {n, 2 * width}}, {"eps", {n, width}, 1.0, 0.0, false}},
          .run = [](const Context& ctx, Inputs in) {
            return Outputs{reparametrize(ctx, in[0], in[1].value)};
          }};
}

std::vector<OpCase> elementwise_cases() {
  std::vector<OpCase> cases;
  for (const Shape& s : shapes()) {
    cases.push_back(unary_case("relu", s, relu));
    cases.back().inputs[0].kink_margin = 0.01;
    cases.push_back(unary_case("tanh", s, tanh));
    cases.push_back(unary_case("softplus", s, softplus));
    cases.push_back(unary_case("softplus_of_large", s, [](const Context& ctx, const Var& x) {
      return softplus(ctx, scale(ctx, x, 200.0));
    }));
    cases.back().slack = 200;  // the rounding of what goes into the exponential
    cases.push_back(unary_case(
        "scale", s, [](const Context& ctx, const Var& x) { return scale(ctx, x, -2.5); }));
    cases.push_back(unary_case("reshape", s, [](const Context& ctx, const Var& x) {
      return reshape(ctx, x, {x.value.elems()});
    }));
    cases.push_back(unary_case("slice_features", s, [](const Context& ctx, const Var& x) {
      return slice_features(ctx, x, x.shape()[-1] / 3, x.shape()[-1]);
    }));
    // The gradient of what is sliced lies in fresh memory.
    cases.push_back(unary_case("slice_of_tanh", s, [](const Context& ctx, const Var& x) {
      return slice_features(ctx, tanh(ctx, x), 0, x.shape()[-1] / 2);
    }));
    cases.push_back(unary_case("used_twice", s, [](const Context& ctx, const Var& x) {
      return add(ctx, tanh(ctx, x), x);
    }));
    cases.push_back(unary_case("used_by_sums", s, [](const Context& ctx, const Var& x) {
      const Var twice = add(ctx, x, x);
      return add(ctx, add(ctx, twice, tanh(ctx, twice)), reshape(ctx, x, x.shape()));
    }));
    cases.push_back(binary_case("add", s, s, add));
    cases.push_back(binary_case("concat_features", s, s, concat_features));
    cases.push_back(add_bias_case(s));
    cases.push_back(scaled_weight_case(s));
  }
  for (const int64_t n : {0, 1, 3, 33}) cases.push_back(reparametrize_case(n, 31));
  return cases;
}

}  // namespace bigbigan
