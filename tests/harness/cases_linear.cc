#include <fmt/format.h>

#include "engine/ops/linear.h"
#include "tests/harness/op_case.h"

namespace bigbigan {
namespace {

using Inputs = std::span<const Var>;

OpCase linear_case(int64_t n, int64_t in, int64_t out, bool bias) {
  OpCase c{.name = fmt::format("linear/{}x{}x{}{}", n, in, out, bias ? "" : "_no_bias"),
           .inputs = {{"x", {n, in}}, {"w", {out, in}}},
           .run = [](const Context& ctx, Inputs v) {
             return Outputs{linear(ctx, v[0], v[1], v.size() > 2 ? v[2] : Var())};
           },
           .length = std::max({n, in, out}),
           .flops = 2.0 * n * in * out};
  if (bias) c.inputs.push_back({"bias", {out}});
  return c;
}

}  // namespace

std::vector<OpCase> linear_cases() {
  std::vector<OpCase> cases = {linear_case(1, 1, 1, true),     linear_case(3, 31, 33, true),
                               linear_case(65, 80, 17, false), linear_case(0, 5, 7, true),
                               linear_case(64, 144, 1, true),  linear_case(33, 600, 300, true)};
  cases.push_back({.name = "embedding/3_of_2",
                   .inputs = {{"table", {2, 5}}},
                   .run = [](const Context& ctx, Inputs in) {
                     const Tensor labels = Tensor::zeros(ctx, {3}, DType::kI32);
                     labels.as<int32_t>()[1] = 1;
                     return Outputs{embedding(ctx, in[0], labels)};
                   },
                   .length = 3});
  return cases;
}

}  // namespace bigbigan
