#include <fmt/format.h>

#include "engine/ops/attention.h"
#include "tests/harness/op_case.h"

namespace bigbigan {
namespace {

using Inputs = std::span<const Var>;

OpCase attention_case(int64_t n, int64_t queries, int64_t keys, int64_t depth, int64_t width, double scale) {
  return {.name = fmt::format("attention/{}x{}x{}_d{}_v{}_scale{}", n, queries, keys, depth, width, scale),
          .inputs = {{"query", {n, queries, depth}, scale}, {"key", {n, keys, depth}}, {"value", {n, keys, width}}},
          .run = [](const Context& ctx, Inputs in) { return Outputs{attention(ctx, in[0], in[1], in[2])}; },
          .composite = [](const Context& ctx, Inputs in) {
            const Var weights = softmax(ctx, batched_matmul(ctx, in[0], in[1], true));
            return Outputs{batched_matmul(ctx, weights, in[2], false)};
          },
          .length = std::max(queries, keys),
          .slack = 4 * std::max(1.0, scale),  // a score's error is an exponent's error
          .flops = 2.0 * n * queries * keys * (depth + width)};
}

}  // namespace

std::vector<OpCase> attention_cases() {
  std::vector<OpCase> cases = {
      attention_case(1, 1, 1, 1, 1, 1.0),      attention_case(2, 33, 31, 3, 5, 1.0),
      attention_case(3, 17, 300, 4, 16, 1.0),  attention_case(0, 4, 4, 2, 2, 1.0),
      attention_case(1, 9, 257, 2, 3, 30.0),  // scores of +-100: exp without the maximum overflows
  };
  cases.push_back({.name = "softmax/5x33",
                   .inputs = {{"x", {5, 33}, 3.0}},
                   .run = [](const Context& ctx, Inputs in) { return Outputs{softmax(ctx, in[0])}; },
                   .length = 33,
                   .slack = 4});
  for (const bool transpose : {false, true}) {
    cases.push_back({.name = fmt::format("batched_matmul/{}", transpose ? "transposed" : "plain"),
                     .inputs = {{"a", {3, 5, 7}}, {"b", transpose ? Shape{3, 9, 7} : Shape{3, 7, 9}}},
                     .run = [transpose](const Context& ctx, Inputs in) {
                       return Outputs{batched_matmul(ctx, in[0], in[1], transpose)};
                     },
                     .length = 9});
  }
  return cases;
}

}  // namespace bigbigan
