// Softmax and attention on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/softmax.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

TEST_CASE("softmax") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  // Rows of no, one, few and many elements, tails of packs and of warps; several blocks of rows.
  for (const Shape& shape : std::vector<Shape>{{0, 4},
                                               {4, 0},
                                               {1, 1},
                                               {3, 3},
                                               {31, 33},
                                               {33, 8},
                                               {2, 3, 31},
                                               {3, 1000},
                                               {2, 2, 4101}}) {
    for (const bool accumulate : {false, true}) {
      Twins twins;
      // Large enough that exp of the largest overflows.
      const Twin x = twins.normal(shape, dtype, 3.0, 200.0), y = twins.fresh(shape, dtype);
      const Twin d_y = twins.normal(shape, dtype), d_x = twins.normal(shape, dtype);
      twins.run([&](const auto& ex, auto at) {
        softmax_forward(ex, at(x), at(y));
        softmax_backward(ex, at(y), at(d_y), at(d_x), accumulate);
      });
      INFO(to_string(shape) << (accumulate ? ", accumulated" : ""));
      const double tolerance = sum_tolerance(dtype, shape[-1]);
      twins.require_close(y, tolerance);
      // Where one weight is nearly 1, d_y and its mean cancel.
      twins.require_within(d_x, tolerance * std::max(twins.largest(d_y), twins.largest(d_x)));
    }
  }
}
