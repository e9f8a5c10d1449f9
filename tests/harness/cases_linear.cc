#include <fmt/format.h>

#include "engine/ops/elementwise.h"
#include "engine/ops/linear.h"
#include "tests/harness/builders.h"

namespace bigbigan {
namespace {

// Rows of a table, some picked more than once and some never.
OpCase embedding_case(int64_t n, int64_t rows, int64_t width) {
  return {.name = fmt::format("embedding/n:{}/rows:{}/d:{}", n, rows, width),
          .inputs = {parameter("table", {rows, width})},
          .run =
              [n, rows](const Context& ctx, Inputs in) {
                std::vector<int32_t> rows_taken(n);
                for (int64_t i = 0; i < n; ++i) rows_taken[i] = static_cast<int32_t>(i * i % rows);
                const Tensor labels = Tensor::from_host(ctx, {n}, DType::kI32, rows_taken.data());
                return Outputs{embedding(ctx, in[0], labels)};
              },
          .length = std::max<int64_t>(1, n)};
}

OpCase residual_layers_case(int64_t n, int64_t in, int64_t inner, int64_t out) {
  return {.name = fmt::format("residual_layers/n:{}/in:{}/inner:{}/out:{}", n, in, inner, out),
          .inputs = {{"x", {n, in}},
                     parameter("w_1", {inner, in}),
                     parameter("bias_1", {inner}),
                     parameter("w_2", {out, inner}),
                     parameter("bias_2", {out}),
                     {"skip", {n, out}}},
          .run =
              [](const Context& ctx, Inputs v) {
                return Outputs{residual_layers(ctx, v[0], v[1], v[2], v[3], v[4], v[5])};
              },
          .composite =
              [](const Context& ctx, Inputs v) {
                const Var hidden = relu(ctx, linear(ctx, v[0], v[1], v[2]));
                return Outputs{add(ctx, linear(ctx, hidden, v[3], v[4]), v[5])};
              },
          .length = std::max({n, in, inner, out}),
          .flops = 2.0 * n * inner * (in + out)};
}

}  // namespace

OpCase linear_case(int64_t n, int64_t in, int64_t out, bool bias) {
  OpCase c{
      .name = fmt::format("linear/n:{}/in:{}/out:{}/bias:{:d}", n, in, out, bias),
      .inputs = {{"x", {n, in}}, parameter("w", {out, in})},
      .run = [](const Context& ctx,
                Inputs v) { return Outputs{linear(ctx, v[0], v[1], v.size() > 2 ? v[2] : Var())}; },
      .length = std::max({n, in, out}),
      .flops = 2.0 * n * in * out};
  if (bias) c.inputs.push_back(parameter("bias", {out}));
  return c;
}

std::vector<OpCase> linear_cases() {
  return {linear_case(1, 1, 1, true),       linear_case(3, 31, 33, true),
          linear_case(65, 80, 17, false),   linear_case(0, 5, 7, true),
          linear_case(64, 144, 1, true),    linear_case(33, 600, 300, true),
          residual_layers_case(1, 1, 1, 1), residual_layers_case(5, 7, 9, 6),
          residual_layers_case(0, 4, 3, 5), residual_layers_case(33, 40, 130, 24),
          embedding_case(3, 2, 5),          embedding_case(33, 7, 31),
          embedding_case(0, 1, 4),          embedding_case(64, 1, 128)};
}

}  // namespace bigbigan
