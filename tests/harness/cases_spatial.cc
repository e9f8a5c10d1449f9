#include <fmt/format.h>

#include "engine/ops/elementwise.h"
#include "engine/ops/spatial.h"
#include "tests/harness/op_case.h"

namespace bigbigan {

using Inputs = std::span<const Var>;

std::vector<OpCase> spatial_cases() {
  std::vector<OpCase> cases;
  const auto single = [&](const char* name, const std::vector<Shape>& shapes, int64_t length, auto function) {
    for (const Shape& s : shapes) {
      cases.push_back({.name = std::string(name) + "/" + to_string(s),
                       .inputs = {{"x", s}},
                       .run = [function](const Context& ctx, Inputs in) { return Outputs{function(ctx, in[0])}; },
                       .length = length});
    }
  };
  const std::vector<Shape> any = {{1, 1, 1, 1}, {3, 5, 7, 3}, {2, 4, 6, 33}, {0, 2, 2, 3}};
  const std::vector<Shape> even = {{1, 2, 2, 1}, {3, 4, 6, 31}, {2, 16, 16, 64}, {0, 2, 2, 3}};
  single("upsample2x", any, 4, [](const Context& c, const Var& x) { return upsample2x(c, x); });
  single("avg_pool2x2", even, 4, [](const Context& c, const Var& x) { return avg_pool2x2(c, x); });
  single("max_pool2x2", even, 4, [](const Context& c, const Var& x) { return max_pool2x2(c, x); });
  single("max_pool3x3s2", any, 9, [](const Context& c, const Var& x) { return max_pool3x3s2(c, x); });
  single("global_sum_pool", any, 256, [](const Context& c, const Var& x) { return global_sum_pool(c, x); });
  single("global_avg_pool", any, 256, [](const Context& c, const Var& x) { return global_avg_pool(c, x); });
  single("box_downsample", even, 4, [](const Context& c, const Var& x) {
    return Var(box_downsample(c, x.value, 2));
  });
  for (OpCase& c : cases) {
    if (c.name.starts_with("box_downsample")) c.inputs[0].wants_gradient = false;
  }
  for (const Shape& s : any) {
    cases.push_back({.name = "add_upsampled/" + to_string(s),
                     .inputs = {{"a", {s[0], 2 * s[1], 2 * s[2], s[3]}}, {"b", s}},
                     .run = [](const Context& ctx, Inputs in) {
                       return Outputs{add_upsampled(ctx, in[0], in[1])};
                     },
                     .composite = [](const Context& ctx, Inputs in) {
                       return Outputs{add(ctx, in[0], upsample2x(ctx, in[1]))};
                     },
                     .length = 4});
  }
  return cases;
}

}  // namespace bigbigan
