// Element-wise launchers on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/elementwise/binary.h"
#include "kernels/elementwise/features.h"
#include "kernels/elementwise/unary.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

// Empty, one element, tails of packs, several blocks.
const std::vector<Shape> kShapes = {{0}, {1}, {3}, {31}, {33, 1}, {2, 3, 5, 7}, {9, 1031}};
constexpr double kFunctionError = 4;  // ulps of CUDA's tanhf, expf, log1pf together

}  // namespace

TEST_CASE("f32 as bf16, and back") {
  for (const Shape& shape : kShapes) {
    Twins twins;
    const Twin x = twins.normal(shape, DType::kF32, 3.0), y = twins.fresh(shape, DType::kBF16);
    const Twin widened = twins.fresh(shape, DType::kF32);
    twins.run([&](const auto& ex, auto at) { convert(ex, at(x), at(y)); });
    twins.run([&](const auto& ex, auto at) { convert(ex, at(y), at(widened)); });
    INFO(to_string(shape));
    twins.require_equal(y);
    twins.require_equal(widened);
  }
}

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

TEST_CASE("sums of tensors") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  for (const Shape& shape : kShapes) {
    Twins twins;
    const Twin a = twins.normal(shape, dtype), b = twins.normal(shape, dtype);
    const Twin sum = twins.fresh(shape, dtype);
    twins.run([&](const auto& ex, auto at) { add(ex, at(a), at(b), at(sum)); });
    INFO(to_string(shape));
    twins.require_equal(sum);
  }
}

// Channels of one pack, of several, of none; a bias row longer than a block.
TEST_CASE("add_bias") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  for (const Shape& shape : {Shape{0, 8},
                             {5, 0},
                             {1, 1},
                             {7, 3},
                             {33, 31},
                             {2, 3, 5, 8},
                             {3, 2, 3, 24},
                             {5, 2048},
                             {3, 1031}}) {
    Twins twins;
    const Twin x = twins.normal(shape, dtype), bias = twins.normal({shape[-1]}, dtype);
    const Twin y = twins.fresh(shape, dtype);
    twins.run([&](const auto& ex, auto at) { add_bias(ex, at(x), at(bias), at(y)); });
    INFO(to_string(shape));
    twins.require_equal(y);
  }
}

TEST_CASE("a learned scale, and its gradient") {
  const DType dtype = DType::kF32;
  for (const Shape& shape : {Shape{0}, {1}, {31}, {33, 1}, {2, 3, 5, 7}, {3, 16384}, {50001}}) {
    for (const bool accumulate : {false, true}) {
      Twins twins;
      // An offset, so that the sum does not cancel: the tolerance is relative to it.
      const Twin w = twins.normal(shape, dtype, 1.0, 1.0), d = twins.normal(shape, dtype, 1.0, 1.0);
      const Twin gamma = twins.of({1}, dtype, std::vector<double>{0.7});
      const Twin y = accumulate ? twins.normal(shape, dtype) : twins.fresh(shape, dtype);
      const Twin rounded = twins.fresh(shape, DType::kBF16);
      const Twin d_gamma = accumulate ? twins.normal({1}, dtype) : twins.fresh({1}, dtype);
      const Twin scratch = twins.fresh({inner_product_scratch_elems(shape.elems())}, DType::kF64);
      twins.run([&](const auto& ex, auto at) {
        scale_by(ex, at(gamma), at(w), at(y), accumulate);
        scale_by(ex, at(gamma), at(w), at(rounded), false);
        inner_product(ex, at(w), at(d), at(d_gamma), accumulate, at(scratch));
      });
      INFO(to_string(shape) << (accumulate ? ", accumulated" : ""));
      twins.require_close(y, sum_tolerance(dtype));
      twins.require_equal(rounded);
      twins.require_close(d_gamma, sum_tolerance(dtype, shape.elems() + 1));
    }
  }
}
