#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "engine/ops/elementwise.h"
#include "engine/ops/spatial.h"
#include "tests/harness/builders.h"

namespace bigbigan {
namespace {

struct Pool {
  UnaryFunction function;
  int64_t window;  // elements per output; 0: the image
};

const std::map<std::string, Pool>& pools() {
  static const std::map<std::string, Pool> kPools = {
      {"upsample2x", {upsample2x, 4}},           {"avg_pool2x2", {avg_pool2x2, 4}},
      {"max_pool2x2", {max_pool2x2, 4}},         {"max_pool3x3s2", {max_pool3x3s2, 9}},
      {"global_sum_pool", {global_sum_pool, 0}}, {"global_avg_pool", {global_avg_pool, 0}}};
  return kPools;
}

OpCase box_downsample_case(const Shape& x, int64_t factor) {
  OpCase c = unary_case("box_downsample", x, [factor](const Context& ctx, const Var& v) {
    return Var(box_downsample(ctx, v.value, factor));
  });
  c.name += "/factor:" + std::to_string(factor);
  c.inputs[0].wants_gradient = false;
  c.length = factor * factor;
  return c;
}

// The sum of two images that contain biases; or of which the larger one does, and the smaller one
// is used `again`, so that its gradient is not that of the sum alone.
OpCase add_upsampled_biases_case(const Shape& small, bool again) {
  const Shape large{small[0], 2 * small[1], 2 * small[2], small[3]};
  const auto outputs = [again](const Context& ctx, const Var& y, const Var& b) {
    return again ? Outputs{y, scale(ctx, b, 0.5)} : Outputs{y};
  };
  OpCase c{.name = fmt::format("add_upsampled_biases/shape:{}/again:{:d}", dims(large), again),
           .inputs = {{"a", large}, {"b", small}, parameter("bias_a", {small[3]})},
           .run =
               [=](const Context& ctx, Inputs in) {
                 const Var a = add_bias(ctx, in[0], in[2].value);
                 const Var b = again ? in[1] : add_bias(ctx, in[1], in[3].value);
                 const Var bias_b = again ? Var() : in[3];
                 return outputs(ctx, add_upsampled(ctx, a, b, in[2], bias_b), in[1]);
               },
           .composite =
               [=](const Context& ctx, Inputs in) {
                 const Var a = add_bias(ctx, in[0], in[2]);
                 const Var b = again ? in[1] : add_bias(ctx, in[1], in[3]);
                 return outputs(ctx, add(ctx, a, upsample2x(ctx, b)), in[1]);
               },
           .length = std::max<int64_t>(4, large.elems() / std::max<int64_t>(1, small[3]))};
  if (!again) c.inputs.push_back(parameter("bias_b", {small[3]}));
  return c;
}

OpCase relu_avg_pool_case(const Shape& x) {
  const auto outputs = [](const std::pair<Var, Var>& both) {
    return Outputs{both.first, both.second};
  };
  return {.name = "relu_avg_pool2x2/shape:" + dims(x),
          .inputs = {{.name = "x", .shape = x, .kink_margin = 0.01}},
          .run = [outputs](const Context& ctx,
                           Inputs in) { return outputs(relu_avg_pool2x2(ctx, in[0])); },
          .composite =
              [outputs](const Context& ctx, Inputs in) {
                return outputs({relu(ctx, in[0]), avg_pool2x2(ctx, in[0])});
              },
          .length = 4};
}

}  // namespace

OpCase pool_case(const std::string& op, const Shape& x) {
  const Pool& pool = pools().at(op);
  OpCase c = unary_case(op, x, pool.function);
  c.length = std::max<int64_t>(1, pool.window > 0 ? pool.window : x[1] * x[2]);
  return c;
}

OpCase add_upsampled_case(const Shape& small) {
  OpCase c = binary_case(
      "add_upsampled", {small[0], 2 * small[1], 2 * small[2], small[3]}, small,
      [](const Context& ctx, const Var& a, const Var& b) { return add_upsampled(ctx, a, b); });
  c.composite = [](const Context& ctx, Inputs in) {
    return Outputs{add(ctx, in[0], upsample2x(ctx, in[1]))};
  };
  c.length = 4;
  return c;
}

std::vector<OpCase> spatial_cases() {
  std::vector<OpCase> cases;
  const std::vector<Shape> any = {
      {1, 1, 1, 1}, {3, 5, 7, 3}, {2, 4, 6, 33}, {0, 2, 2, 3}, {1, 33, 31, 5}};
  const std::vector<Shape> even = {{1, 2, 2, 1}, {3, 4, 6, 31}, {2, 16, 16, 64}, {0, 2, 2, 3}};
  for (const char* op : {"upsample2x", "max_pool3x3s2", "global_sum_pool", "global_avg_pool"}) {
    for (const Shape& s : any) cases.push_back(pool_case(op, s));
  }
  for (const char* op : {"avg_pool2x2", "max_pool2x2"}) {
    for (const Shape& s : even) cases.push_back(pool_case(op, s));
  }
  for (const Shape& s : even) cases.push_back(relu_avg_pool_case(s));
  for (const Shape& s : even) cases.push_back(box_downsample_case(s, 2));
  cases.push_back(box_downsample_case({3, 8, 12, 3}, 4));
  for (const Shape& s : any) cases.push_back(add_upsampled_case(s));
  for (const Shape& s : any) cases.push_back(add_upsampled_biases_case(s, false));
  cases.push_back(add_upsampled_biases_case({3, 5, 7, 3}, true));
  return cases;
}

}  // namespace bigbigan
