// Pooling and resampling on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/spatial/global_pool.h"
#include "kernels/spatial/max_pool.h"
#include "kernels/spatial/relu_pool.h"
#include "kernels/spatial/resample.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

// Empty in each way; odd channels, one pack, several; more than a block.
const std::vector<Shape> kShapes = {{0, 2, 3, 8}, {2, 3, 3, 0},  {1, 1, 1, 1},  {2, 3, 5, 3},
                                    {3, 4, 3, 8}, {1, 5, 7, 31}, {2, 3, 2, 24}, {2, 9, 11, 40}};

Shape doubled(const Shape& s) { return {s[0], 2 * s[1], 2 * s[2], s[3]}; }

}  // namespace

TEST_CASE("global pool") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  std::vector<Shape> shapes = kShapes;
  shapes.insert(shapes.end(), {{2, 0, 3, 8}, {2, 7, 7, 2056}, {3, 2, 2, 1031}, {2, 40, 30, 8}});
  for (const Shape& shape : shapes) {
    const double factor = 1.0 / 7;
    const Shape pooled = {shape[0], shape[3]};
    for (const bool accumulate : {false, true}) {
      Twins twins;
      const Twin x = twins.normal(shape, dtype), y = twins.fresh(pooled, dtype);
      const Twin d_y = twins.normal(pooled, dtype);
      const Twin d_x = accumulate ? twins.normal(shape, dtype) : twins.fresh(shape, dtype);
      twins.run([&](const auto& ex, auto at) {
        global_pool_forward(ex, at(x), factor, at(y));
        global_pool_backward(ex, at(d_y), factor, at(d_x), accumulate);
      });
      INFO(to_string(shape) << (accumulate ? ", accumulated" : ""));
      twins.require_close(y, sum_tolerance(dtype, shape[1] * shape[2]));
      twins.require_close(d_x, sum_tolerance(dtype));
    }
  }
}

TEST_CASE("max pool") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  const MaxPoolWindow window =
      GENERATE(MaxPoolWindow{.size = 2, .pad = 0}, MaxPoolWindow{.size = 3, .pad = 1});
  for (const Shape& small : kShapes) {
    // Windows that end inside, at the edge and beyond it.
    for (const Shape& shape :
         {doubled(small), Shape{small[0], 2 * small[1] + 1, small[2] + 1, small[3]}}) {
      const Shape pooled = max_pool_shape(shape, window);
      for (const bool accumulate : {false, true}) {
        Twins twins;
        const Twin x = twins.normal(shape, dtype), y = twins.fresh(pooled, dtype);
        const Twin argmax = twins.fresh(pooled, DType::kU8), d_y = twins.normal(pooled, dtype);
        const Twin d_x = accumulate ? twins.normal(shape, dtype) : twins.fresh(shape, dtype);
        twins.run([&](const auto& ex, auto at) {
          max_pool_forward(ex, window, at(x), at(y), at(argmax));
          max_pool_backward(ex, window, at(argmax), at(d_y), at(d_x), accumulate);
        });
        INFO(to_string(shape) << ", windows of " << window.size
                              << (accumulate ? ", accumulated" : ""));
        twins.require_equal(y);
        twins.require_equal(argmax);
        twins.require_close(d_x, sum_tolerance(dtype, window.size * window.size));
      }
    }
  }
}

TEST_CASE("max pool: the first among equals, a NaN before all, zeros of the padding") {
  Twins twins;
  const double nan = std::nan("");
  // One image of 2x4 pixels and one channel: a tie, and a NaN among larger ones.
  const Twin x = twins.of({1, 2, 4, 1}, DType::kF32,
                          std::vector<double>{3, 3, nan, 9,  //
                                              3, 1, 2, 8});
  const Twin negative = twins.of({1, 1, 1, 1}, DType::kF32, std::vector<double>{-2});
  const Twin y = twins.fresh({1, 1, 2, 1}, DType::kF32), z = twins.fresh({1, 1, 1, 1}, DType::kF32);
  const Twin at_y = twins.fresh({1, 1, 2, 1}, DType::kU8);
  const Twin at_z = twins.fresh({1, 1, 1, 1}, DType::kU8);
  const Twin d_x = twins.fresh({1, 1, 1, 1}, DType::kF32);
  twins.run([&](const auto& ex, auto at) {
    max_pool_forward(ex, {.size = 2, .pad = 0}, at(x), at(y), at(at_y));
    max_pool_forward(ex, {.size = 3, .pad = 1}, at(negative), at(z), at(at_z));
    max_pool_backward(ex, {.size = 3, .pad = 1}, at(at_z), at(negative), at(d_x), false);
  });
  REQUIRE(read(y.cuda)[0] == 3);
  REQUIRE(std::isnan(read(y.cuda)[1]));
  twins.require_equal(at_y);
  REQUIRE(read(z.cuda)[0] == 0);
  twins.require_equal(at_z);
  REQUIRE(read(d_x.cuda)[0] == 0);
}

TEST_CASE("resampling by two") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  const double tolerance = sum_tolerance(dtype, 4);
  for (const Shape& small : kShapes) {
    const Shape large = doubled(small);
    for (const bool accumulate : {false, true}) {
      Twins twins;
      const Twin x = twins.normal(small, dtype), a = twins.normal(large, dtype);
      const Twin up = accumulate ? twins.normal(large, dtype) : twins.fresh(large, dtype);
      const Twin down = accumulate ? twins.normal(small, dtype) : twins.fresh(small, dtype);
      const Twin sum = twins.fresh(large, dtype);
      twins.run([&](const auto& ex, auto at) {
        upsample2x(ex, at(x), 0.3, at(up), accumulate);
        pool_sum2x2(ex, at(a), 0.3, at(down), accumulate);
        add_upsampled(ex, at(a), at(x), at(sum));
      });
      INFO(to_string(small) << (accumulate ? ", accumulated" : ""));
      twins.require_close(up, tolerance);
      twins.require_close(down, tolerance);
      twins.require_equal(sum);
    }
  }
}

TEST_CASE("ReLU and average pool") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  for (const Shape& small : kShapes) {
    const Shape large = doubled(small);
    for (const bool accumulate : {false, true}) {
      Twins twins;
      const Twin x = twins.normal(large, dtype), y = twins.fresh(large, dtype);
      const Twin pooled = twins.fresh(small, dtype), d_pooled = twins.normal(small, dtype);
      const Twin d_y = twins.normal(large, dtype);
      const Twin d_x = accumulate ? twins.normal(large, dtype) : twins.fresh(large, dtype);
      twins.run([&](const auto& ex, auto at) {
        relu_pool_forward(ex, at(x), at(y), at(pooled));
        relu_pool_backward(ex, at(y), at(d_y), at(d_pooled), at(d_x), accumulate);
      });
      INFO(to_string(small) << (accumulate ? ", accumulated" : ""));
      twins.require_equal(y);
      twins.require_close(pooled, sum_tolerance(dtype, 4));
      twins.require_close(d_x, sum_tolerance(dtype));
    }
  }
}

TEST_CASE("box downsample") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  const int64_t factor = GENERATE(1, 2, 3);
  for (const Shape& s : kShapes) {
    Twins twins;
    const Twin x = twins.normal({s[0], factor * s[1], factor * s[2], s[3]}, dtype);
    const Twin y = twins.fresh(s, dtype);
    twins.run([&](const auto& ex, auto at) { box_downsample(ex, at(x), factor, at(y)); });
    INFO(to_string(s) << " by " << factor);
    twins.require_close(y, sum_tolerance(dtype, factor * factor));
  }
}
