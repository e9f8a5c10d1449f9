#include "engine/ops/attention.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/ops/conv.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/spatial.h"
#include "tests/harness/builders.h"
#include "tests/harness/values.h"

namespace bigbigan {
namespace {

// query (n, queries, depth), key (n, keys, depth), value (n, keys, width); `scale` of the queries.
OpCase attention_case(int64_t n, int64_t queries, int64_t keys, int64_t depth, int64_t width,
                      double scale) {
  return {.name = fmt::format("attention/n:{}/queries:{}/keys:{}/depth:{}/width:{}/scale:{}", n,
                              queries, keys, depth, width, scale),
          .inputs = {{"query", {n, queries, depth}, scale},
                     {"key", {n, keys, depth}},
                     {"value", {n, keys, width}}},
          .run = [](const Context& ctx,
                    Inputs in) { return Outputs{attention(ctx, in[0], in[1], in[2])}; },
          .composite =
              [](const Context& ctx, Inputs in) {
                const Var weights = softmax(ctx, batched_matmul(ctx, in[0], in[1], true));
                return Outputs{batched_matmul(ctx, weights, in[2], false)};
              },
          .length = std::max(queries, keys),
          .slack = 4 * std::max(1.0, scale),  // a score's error is an exponent's error
          .flops = 2.0 * n * queries * keys * (depth + width)};
}

// Channels first ... first + count - 1 of x, exactly, by a convolution with ones and zeros.
Var channels_of(const Context& ctx, const Var& x, int64_t first, int64_t count) {
  const int64_t channels = x.shape()[3];
  std::vector<double> ones(count * channels);
  for (int64_t k = 0; k < count; ++k) ones[k * channels + first + k] = 1;
  return conv2d(ctx, x, tensor_of(ctx, {count, 1, 1, channels}, x.dtype(), ones), {}, {});
}

// joint (n, h, w, 2 depth + width)
OpCase split_projections_case(int64_t n, int64_t h, int64_t w, int64_t depth, int64_t width) {
  return {.name = fmt::format("split_projections/n:{}/h:{}/w:{}/depth:{}/width:{}", n, h, w, depth,
                              width),
          .inputs = {{"joint", {n, h, w, 2 * depth + width}}},
          .run =
              [depth](const Context& ctx, Inputs in) {
                const Projections p = split_projections(ctx, in[0], depth);
                return Outputs{p.query, p.key, p.value};
              },
          .composite =
              [=](const Context& ctx, Inputs in) {
                const auto pooled = [&](int64_t first, int64_t count) {
                  return reshape(ctx, max_pool2x2(ctx, channels_of(ctx, in[0], first, count)),
                                 {n, (h / 2) * (w / 2), count});
                };
                return Outputs{reshape(ctx, channels_of(ctx, in[0], 0, depth), {n, h * w, depth}),
                               pooled(depth, depth), pooled(2 * depth, width)};
              }};
}

// Weights (k, 1, 1, c), k of each of `rows`.
OpCase join_weights_case(const std::array<int64_t, 3>& rows, int64_t c) {
  return {.name = fmt::format("join_weights/rows:{},{},{}/c:{}", rows[0], rows[1], rows[2], c),
          .inputs = {parameter("theta", {rows[0], 1, 1, c}), parameter("phi", {rows[1], 1, 1, c}),
                     parameter("g", {rows[2], 1, 1, c})},
          .run = [](const Context& ctx,
                    Inputs in) { return Outputs{join_weights(ctx, in[0], in[1], in[2])}; },
          .makes_weights = true};
}

OpCase softmax_case(const Shape& x, double offset) {
  OpCase c = unary_case("softmax", x, softmax);
  c.name += fmt::format("/mean:{}", offset);
  c.inputs[0].scale = 3.0;
  c.inputs[0].offset = offset;
  c.length = std::max<int64_t>(1, x[-1]);
  c.slack = 4;
  return c;
}

OpCase matmul_case(int64_t n, int64_t a, int64_t b, int64_t k, bool transpose) {
  return {.name = fmt::format("batched_matmul/n:{}/a:{}/b:{}/k:{}/transpose:{:d}", n, a, b, k,
                              transpose),
          .inputs = {{"a", {n, a, k}}, {"b", transpose ? Shape{n, b, k} : Shape{n, k, b}}},
          .run = [transpose](
                     const Context& ctx,
                     Inputs in) { return Outputs{batched_matmul(ctx, in[0], in[1], transpose)}; },
          .length = std::max({a, b, k}),
          .flops = 2.0 * n * a * b * k};
}

}  // namespace

std::vector<OpCase> attention_cases() {
  std::vector<OpCase> cases = {
      attention_case(1, 1, 1, 1, 1, 1.0),     attention_case(2, 33, 31, 3, 5, 1.0),
      attention_case(3, 17, 300, 4, 16, 1.0), attention_case(0, 4, 4, 2, 2, 1.0),
      attention_case(1, 9, 257, 2, 3, 30.0),  // scores of +-100: exp without the maximum overflows
  };
  // Windows that fill the image, and that leave a row or a column; channels of no and of whole
  // packs.
  cases.push_back(split_projections_case(1, 2, 2, 1, 1));
  cases.push_back(split_projections_case(2, 5, 7, 3, 5));
  cases.push_back(split_projections_case(3, 4, 3, 4, 16));
  cases.push_back(split_projections_case(2, 3, 6, 8, 32));
  cases.push_back(split_projections_case(0, 4, 4, 2, 8));
  cases.push_back(join_weights_case({1, 1, 1}, 1));
  cases.push_back(join_weights_case({3, 5, 7}, 31));
  cases.push_back(join_weights_case({2, 2, 8}, 16));
  for (const Shape& s : std::vector<Shape>{{1, 1}, {5, 33}, {0, 3}, {2, 3, 31}, {257, 129}}) {
    cases.push_back(softmax_case(s, 0.0));
  }
  cases.push_back(softmax_case({3, 31}, 1e4));
  for (const bool transpose : {false, true}) {
    cases.push_back(matmul_case(3, 5, 9, 7, transpose));
    cases.push_back(matmul_case(0, 5, 9, 7, transpose));
    cases.push_back(matmul_case(2, 33, 31, 65, transpose));
  }
  return cases;
}

}  // namespace bigbigan
