#include <fmt/format.h>

#include "engine/ops/elementwise.h"
#include "engine/ops/random.h"
#include "tests/harness/op_case.h"

namespace bigbigan {
namespace {

using Inputs = std::span<const Var>;

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> kShapes = {{1, 1}, {3, 31}, {2, 3, 5, 33}, {0, 7}, {2, 65, 257}};
  return kShapes;
}

OpCase reparametrize_case(int64_t n, int64_t width) {
  return {.name = fmt::format("reparametrize/{}x{}", n, width),
          .inputs = {{"stats", {n, 2 * width}}, {"eps", {n, width}, 1.0, 0.0, false}},
          .run = [](const Context& ctx, Inputs in) {
            return Outputs{reparametrize(ctx, in[0], in[1].value)};
          }};
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
  std::vector<OpCase> cases;
  const auto unary = [&](const char* name, double kink, auto function) {
    for (const Shape& s : shapes()) {
      cases.push_back({.name = std::string(name) + "/" + to_string(s),
                       .inputs = {{"x", s, 1.0, 0.0, true, kink}},
                       .run = [function](const Context& ctx, Inputs in) {
                         return Outputs{function(ctx, in[0])};
                       }});
    }
  };
  unary("relu", 0.01, [](const Context& ctx, const Var& x) { return relu(ctx, x); });
  unary("tanh", 0, [](const Context& ctx, const Var& x) { return tanh(ctx, x); });
  unary("softplus", 0, [](const Context& ctx, const Var& x) { return softplus(ctx, scale(ctx, x, 20.0)); });
  unary("scale", 0, [](const Context& ctx, const Var& x) { return scale(ctx, x, -2.5); });
  unary("reshape", 0, [](const Context& ctx, const Var& x) {
    return reshape(ctx, x, {x.value.elems()});
  });
  unary("slice_features", 0, [](const Context& ctx, const Var& x) {
    return slice_features(ctx, x, x.shape()[-1] / 3, x.shape()[-1]);
  });
  unary("twice_used", 0, [](const Context& ctx, const Var& x) { return add(ctx, tanh(ctx, x), x); });
  for (const Shape& s : shapes()) {
    const std::string at = "/" + to_string(s);
    cases.push_back({.name = "add" + at, .inputs = {{"a", s}, {"b", s}}, .run = [](const Context& ctx, Inputs in) {
                       return Outputs{add(ctx, in[0], in[1])};
                     }});
    cases.push_back({.name = "add_scaled" + at,
                     .inputs = {{"x", s}, {"gamma", {1}}, {"y", s}},
                     .run = [](const Context& ctx, Inputs in) {
                       return Outputs{add_scaled(ctx, in[0], in[1], in[2])};
                     },
                     .length = s.elems() + 1});
    cases.push_back({.name = "add_bias" + at,
                     .inputs = {{"x", s}, {"bias", {s[-1]}}},
                     .run = [](const Context& ctx, Inputs in) { return Outputs{add_bias(ctx, in[0], in[1])}; },
                     .length = s.elems() / s[-1] + 1});
    cases.push_back({.name = "concat_features" + at, .inputs = {{"a", s}, {"b", s}}, .run = [](const Context& ctx, Inputs in) {
                       return Outputs{concat_features(ctx, in[0], in[1])};
                     }});
  }
  cases.push_back(reparametrize_case(3, 5));
  cases.push_back(reparametrize_case(0, 4));
  return cases;
}

}  // namespace bigbigan
