// Folded convolution weights on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <vector>

#include "kernels/conv/fold_weight.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

// Filters and channels: none, one, less and more than a tile, whole tiles, tails on either side.
TEST_CASE("folded weights and their gradients") {
  constexpr DType kDType = DType::kF32;
  for (const Shape& w : {Shape{0, 3, 3, 8},
                         {5, 3, 3, 0},
                         {1, 3, 3, 1},
                         {3, 3, 3, 31},
                         {31, 3, 3, 3},
                         {33, 3, 3, 32},
                         {32, 3, 3, 64},
                         {70, 3, 3, 33}}) {
    const Shape turned = {w[3], 4, 4, w[0]}, straight = {w[0], 4, 4, w[3]};
    Twins twins;
    const Twin weight = twins.normal(w, kDType);
    const Twin up = twins.fresh(turned, kDType), down = twins.fresh(straight, kDType);
    twins.run([&](const auto& ex, auto at) {
      fold_upsample_weight(ex, at(weight), at(up));
      fold_avg_pool_weight(ex, at(weight), at(down));
    });
    INFO(to_string(w));
    twins.require_equal(up);
    twins.require_close(down, sum_tolerance(kDType, 4));
    for (const bool accumulate : {false, true}) {
      const Twin d_up = twins.normal(turned, kDType), d_down = twins.normal(straight, kDType);
      const Twin a = accumulate ? twins.normal(w, kDType) : twins.fresh(w, kDType);
      const Twin b = accumulate ? twins.normal(w, kDType) : twins.fresh(w, kDType);
      twins.run([&](const auto& ex, auto at) {
        fold_upsample_weight_backward(ex, at(d_up), at(a), accumulate);
        fold_avg_pool_weight_backward(ex, at(d_down), at(b), accumulate);
      });
      INFO((accumulate ? "accumulated" : "written"));
      twins.require_close(a, sum_tolerance(kDType, 5));
      twins.require_close(b, sum_tolerance(kDType, 5));
    }
  }
}
