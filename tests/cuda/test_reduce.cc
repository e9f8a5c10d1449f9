// Column sums on CUDA against the CPU.
#include <catch2/catch.hpp>

#include "kernels/reduce/column_sum.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

// Empty on either side; channels of whole packs and not, fewer and more than a block has units;
// rows of one chunk, a partial one, many.
const std::vector<Shape> kShapes = {{0, 8},    {7, 0},        {1, 1},         {3, 3},     {33, 31},
                                    {31, 33},  {3, 2, 3, 24}, {700, 96},      {20000, 1}, {5, 2056},
                                    {5, 1031}, {18, 4096},    {2, 40, 40, 3}, {40000, 8}};

Twin run(Twins& twins, const Twin& x, bool accumulate, DType dtype) {
  const Shape shape = x.cpu.shape();
  const Twin y = accumulate ? twins.normal({shape[-1]}, dtype) : twins.fresh({shape[-1]}, dtype);
  const Twin scratch = twins.fresh({column_sum_scratch_elems(shape)}, DType::kF64);
  twins.run([&](const auto& ex, auto at) {
    column_sum(ex, at(x), {at(y), accumulate}, {}, at(scratch));
  });
  return y;
}

}  // namespace

TEST_CASE("column sums") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  for (const Shape& shape : kShapes) {
    const int64_t rows = shape.elems() / std::max<int64_t>(shape[-1], 1);
    for (const bool accumulate : {false, true}) {
      Twins twins;
      const Twin x = twins.normal(shape, dtype);
      INFO(to_string(shape) << (accumulate ? ", accumulated" : ""));
      twins.require_close(run(twins, x, accumulate, dtype), sum_tolerance(dtype, rows + 1));
    }
  }
}

TEST_CASE("column sums for two") {
  for (const Shape& shape : kShapes) {
    const int64_t rows = shape.elems() / std::max<int64_t>(shape[-1], 1);
    Twins twins;
    const Twin x = twins.normal(shape, DType::kBF16), sums = run(twins, x, false, DType::kF32);
    const Twin first = twins.fresh({shape[-1]}, DType::kF32);
    const Twin second = twins.normal({shape[-1]}, DType::kF32);
    const Twin scratch = twins.fresh({column_sum_scratch_elems(shape)}, DType::kF64);
    twins.run([&](const auto& ex, auto at) {
      column_sum(ex, at(x), {at(first)}, {at(second), true}, at(scratch));
    });
    INFO(to_string(shape));
    CHECK(read(first.cuda) == read(sums.cuda));
    twins.require_close(first, sum_tolerance(DType::kF32, rows + 1));
    twins.require_close(second, sum_tolerance(DType::kF32, rows + 1));
  }
}

TEST_CASE("gradients in front of a ReLU, and their column sums") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  for (const Shape& shape : kShapes) {
    const int64_t rows = shape.elems() / std::max<int64_t>(shape[-1], 1);
    for (const bool accumulate : {false, true}) {
      Twins twins;
      const Twin y = twins.normal(shape, dtype), d_y = twins.normal(shape, dtype);
      const Twin d = twins.fresh(shape, dtype);
      const Twin sums = accumulate ? twins.normal({shape[-1]}, DType::kF32)
                                   : twins.fresh({shape[-1]}, DType::kF32);
      const Twin scratch = twins.fresh({column_sum_scratch_elems(shape)}, DType::kF64);
      twins.run([&](const auto& ex, auto at) {
        relu_backward_sums(ex, at(y), at(d_y), at(d), at(sums), accumulate, at(scratch));
      });
      INFO(to_string(shape) << (accumulate ? ", accumulated" : ""));
      twins.require_equal(d);
      twins.require_close(sums, sum_tolerance(DType::kF32, rows + 1));
    }
  }
}

// A large mean: f32 partial sums of a chunk, f64 across the chunks.
TEST_CASE("column sums of values far from zero") {
  Twins twins;
  const Twin x = twins.normal({30000, 5}, DType::kF32, 1.0, 1e4);
  twins.require_close(run(twins, x, false, DType::kF32), sum_tolerance(DType::kF32, 30000));
}
