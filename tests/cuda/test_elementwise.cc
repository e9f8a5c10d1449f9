// Element-wise launchers on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/elementwise/unary.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

// Empty, one element, tails of packs, several blocks.
const std::vector<Shape> kShapes = {{0}, {1}, {3}, {31}, {33, 1}, {2, 3, 5, 7}, {9, 1031}};
constexpr double kFunctionError = 4;  // ulps of CUDA's tanhf, expf, log1pf together

}  // namespace

TEST_CASE("unary operations") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  const double tolerance = kFunctionError * sum_tolerance(dtype);
  for (const Shape& shape : kShapes) {
    Twins twins;
    const Twin x = twins.normal(shape, dtype, 3.0), d_y = twins.normal(shape, dtype);
    for (const bool accumulate : {false, true}) {
      const Twin y = twins.fresh(shape, dtype), t = twins.fresh(shape, dtype);
      const Twin s = twins.fresh(shape, dtype), scaled = twins.normal(shape, dtype);
      const Twin d_relu = twins.normal(shape, dtype), d_tanh = twins.normal(shape, dtype);
      const Twin d_softplus = twins.normal(shape, dtype);
      twins.run([&](const auto& ex, auto at) {
        relu_forward(ex, at(x), at(y));
        tanh_forward(ex, at(x), at(t));
        softplus_forward(ex, at(x), at(s));
        scale(ex, at(x), 0.7, at(scaled), accumulate);
      });
      // Backward reads the same saved values on both sides.
      twins.run([&](const auto& ex, auto at) {
        relu_backward(ex, at(y), at(d_y), at(d_relu), accumulate);
        softplus_backward(ex, at(x), at(d_y), at(d_softplus), accumulate);
      });
      twins.run([&](const auto& ex, auto at) {
        tanh_backward(ex, at(t), at(d_y), at(d_tanh), accumulate);
      });
      INFO(to_string(shape) << (accumulate ? ", accumulated" : ""));
      twins.require_equal(y);
      for (const Twin& result : {t, s, scaled, d_relu, d_tanh, d_softplus}) {
        twins.require_close(result, tolerance);
      }
    }
  }
}

TEST_CASE("relu keeps NaN and passes no gradient at 0") {
  Twins twins;
  const Twin x = twins.of({3}, DType::kF32, std::vector<double>{std::nan(""), 0.0, -1.0});
  const Twin y = twins.fresh({3}, DType::kF32);
  twins.run([&](const auto& ex, auto at) { relu_forward(ex, at(x), at(y)); });
  const std::vector<double> values = read(y.cuda);
  REQUIRE(std::isnan(values[0]));
  REQUIRE(values[1] == 0);
  const Twin d_y = twins.of({3}, DType::kF32, std::vector<double>{1, 1, 1});
  const Twin d_x = twins.fresh({3}, DType::kF32);
  twins.run([&](const auto& ex, auto at) { relu_backward(ex, at(y), at(d_y), at(d_x), false); });
  REQUIRE(read(d_x.cuda)[1] == 0);
}
