#include "engine/ops/conv.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/ops/elementwise.h"
#include "engine/ops/spatial.h"
#include "tests/harness/builders.h"

namespace bigbigan {
namespace {

std::string image_keys(int64_t n, int64_t hw, int64_t c, int64_t k) {
  return fmt::format("n:{}/hw:{}/c:{}/k:{}", n, hw, c, k);
}

// Note [Exact rewrites] (a): the folded transposed convolution against upsampling and 3x3.
OpCase upsample_rewrite(int64_t n, int64_t hw, int64_t c, int64_t k) {
  return {.name = "rewrite_upsample_conv/" + image_keys(n, hw, c, k),
          .inputs = {{"x", {n, hw, hw, c}}, master("w", {k, 3, 3, c}), parameter("bias", {k})},
          .run =
              [](const Context& ctx, Inputs v) {
                return Outputs{conv2d_transposed(ctx, v[0], fold_upsample_weight(ctx, v[1]), v[2],
                                                 {.stride = 2, .pad = 1})};
              },
          .composite =
              [](const Context& ctx, Inputs v) {
                return Outputs{conv2d(ctx, upsample2x(ctx, v[0]), v[1], v[2], {.pad = 1})};
              },
          .length = std::max(n * hw * hw * 4, 16 * std::max(c, k))};
}

// (b): the folded strided convolution against 3x3 and the average pool.
OpCase avg_pool_rewrite(int64_t n, int64_t hw, int64_t c, int64_t k) {
  return {.name = "rewrite_conv_avg_pool/" + image_keys(n, hw, c, k),
          .inputs = {{"x", {n, hw, hw, c}}, master("w", {k, 3, 3, c}), parameter("bias", {k})},
          .run =
              [](const Context& ctx, Inputs v) {
                return Outputs{conv2d(ctx, v[0], fold_avg_pool_weight(ctx, v[1]), v[2],
                                      {.stride = 2, .pad = 1})};
              },
          .composite =
              [](const Context& ctx, Inputs v) {
                return Outputs{avg_pool2x2(ctx, conv2d(ctx, v[0], v[1], v[2], {.pad = 1}))};
              },
          .length = std::max(n * hw * hw, 16 * std::max(c, k))};
}

// (c): the 1x1 convolution commutes with both resamplings.
OpCase shortcut_rewrite(bool up) {
  const auto one = [](const Context& ctx, const Var& x, Inputs v) {
    return conv2d(ctx, x, v[1], v[2], {});
  };
  return {.name = up ? "rewrite_shortcut_upsample" : "rewrite_shortcut_avg_pool",
          .inputs = {{"x", {2, 6, 4, 5}}, parameter("w", {3, 1, 1, 5}), parameter("bias", {3})},
          .run =
              [=](const Context& ctx, Inputs v) {
                return Outputs{up ? upsample2x(ctx, one(ctx, v[0], v))
                                  : one(ctx, avg_pool2x2(ctx, v[0]), v)};
              },
          .composite =
              [=](const Context& ctx, Inputs v) {
                return Outputs{up ? one(ctx, upsample2x(ctx, v[0]), v)
                                  : avg_pool2x2(ctx, one(ctx, v[0], v))};
              },
          .length = 192};
}

// The end of a residual block, with biases of both its branches or without.
OpCase block_end_case(const Shape& x, int64_t k, bool has_bias) {
  const Shape y{x[0], x[1], x[2], k};
  OpCase c{.name = fmt::format("conv1x1_add/x:{}/k:{}/bias:{:d}", dims(x), k, has_bias),
           .inputs = {{"x", x}, parameter("w", {k, 1, 1, x[3]}), {"addend", y}},
           .run =
               [=](const Context& ctx, Inputs v) {
                 if (!has_bias) return Outputs{conv1x1_add(ctx, v[0], v[1], {}, v[2])};
                 const Var addend = add_bias(ctx, v[2], v[4].value);
                 return Outputs{conv1x1_add(ctx, v[0], v[1], v[3], addend, v[4])};
               },
           .composite =
               [=](const Context& ctx, Inputs v) {
                 if (!has_bias) return Outputs{add(ctx, conv2d(ctx, v[0], v[1], {}, {}), v[2])};
                 const Var addend = add_bias(ctx, v[2], v[4]);
                 return Outputs{add(ctx, conv2d(ctx, v[0], v[1], v[3], {}), addend)};
               },
           .length = std::max(y.elems() / std::max<int64_t>(1, k), std::max(x[3], k))};
  if (has_bias) {
    c.inputs.push_back(parameter("bias", {k}));
    c.inputs.push_back(parameter("addend_bias", {k}));
  }
  return c;
}

}  // namespace

OpCase conv_case(const ConvSpec& s) {
  OpCase c{
      .name =
          fmt::format("conv2d/n:{}/h:{}/w:{}/c:{}/k:{}/r:{}/stride:{}/pad:{}/bias:{:d}/relu:{:d}",
                      s.n, s.h, s.w, s.c, s.k, s.kernel, s.stride, s.pad, s.bias, s.relu),
      .inputs = {{"x", {s.n, s.h, s.w, s.c}}, parameter("w", {s.k, s.kernel, s.kernel, s.c})},
      .run =
          [s](const Context& ctx, Inputs v) {
            return Outputs{conv2d(ctx, v[0], v[1], s.bias ? v[2] : Var(),
                                  {.stride = s.stride, .pad = s.pad, .relu = s.relu})};
          },
      .length = std::max(s.n * s.h * s.w, s.kernel * s.kernel * std::max(s.c, s.k)),
      .flops = 2.0 * s.n * s.h * s.w * s.c * s.k * s.kernel * s.kernel / (s.stride * s.stride)};
  if (s.bias) c.inputs.push_back(parameter("bias", {s.k}));
  return c;
}

OpCase transposed_case(int64_t n, int64_t hw, int64_t c, int64_t k) {
  return {.name = "conv2d_transposed/" + image_keys(n, hw, c, k),
          .inputs = {{"x", {n, hw, hw, c}}, parameter("w", {c, 4, 4, k}), parameter("bias", {k})},
          .run =
              [](const Context& ctx, Inputs v) {
                return Outputs{conv2d_transposed(ctx, v[0], v[1], v[2], {.stride = 2, .pad = 1})};
              },
          .length = std::max(n * hw * hw * 4, 16 * std::max(c, k)),
          .flops = 2.0 * n * hw * hw * c * k * 16};
}

std::vector<OpCase> conv_cases() {
  std::vector<OpCase> cases;
  for (const ConvSpec& s : std::vector<ConvSpec>{{1, 1, 1, 1, 1, 1, 1, 0},
                                                 {3, 5, 7, 3, 5, 3, 1, 1},
                                                 {2, 8, 8, 16, 32, 3, 1, 1},
                                                 {2, 8, 8, 16, 32, 3, 1, 1, true, true},
                                                 {5, 9, 9, 8, 17, 3, 2, 1, false},
                                                 {4, 8, 8, 16, 16, 4, 2, 1},
                                                 {2, 13, 13, 3, 8, 7, 2, 3, false},
                                                 {0, 8, 8, 4, 4, 3, 1, 1},
                                                 {33, 16, 16, 16, 16, 1, 1, 0},
                                                 {35, 32, 32, 1, 8, 3, 1, 1},
                                                 {31, 16, 16, 24, 40, 3, 1, 1, false},
                                                 {6, 8, 8, 33, 31, 1, 2, 0, false}}) {
    cases.push_back(conv_case(s));
  }
  cases.push_back(block_end_case({3, 5, 7, 8}, 33, true));
  cases.push_back(block_end_case({31, 4, 4, 24}, 16, false));
  cases.push_back(block_end_case({2, 4, 6, 3}, 5, true));
  cases.push_back(block_end_case({3, 5, 3, 13}, 8, false));
  cases.push_back(block_end_case({0, 2, 2, 8}, 4, true));
  cases.push_back(transposed_case(2, 4, 3, 5));
  cases.push_back(transposed_case(33, 8, 32, 16));
  cases.push_back(transposed_case(0, 4, 3, 5));
  cases.push_back(upsample_rewrite(1, 1, 1, 1));
  cases.push_back(upsample_rewrite(3, 5, 4, 3));
  cases.push_back(avg_pool_rewrite(1, 2, 1, 1));
  cases.push_back(avg_pool_rewrite(3, 6, 3, 5));
  cases.push_back(shortcut_rewrite(true));
  cases.push_back(shortcut_rewrite(false));
  return cases;
}

}  // namespace bigbigan
