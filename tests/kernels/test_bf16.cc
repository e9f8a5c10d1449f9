// bf16 storage: the launchers that take it compute as with f32 and round once, at the store.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "kernels/attention/softmax.h"
#include "kernels/elementwise/binary.h"
#include "kernels/elementwise/features.h"
#include "kernels/elementwise/unary.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/reduce/column_sum.h"
#include "kernels/spatial/global_pool.h"
#include "kernels/spatial/max_pool.h"
#include "kernels/spatial/resample.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

// Makes the tensors of a launcher in one dtype, calls it, and returns what it wrote.
class Operands {
 public:
  explicit Operands(DType dtype) : dtype_(dtype) {}

  // Values that bf16 holds exactly; another set for each `phase`.
  Tensor in(const Shape& shape, double phase = 0) {
    std::vector<double> values(shape.elems());
    for (size_t i = 0; i < values.size(); ++i) {
      const double wave = 2 * std::sin(0.37 * static_cast<double>(i + 1) + phase);
      values[i] = static_cast<double>(bf16(static_cast<float>(wave)));
    }
    return tensor_of(ctx, shape, dtype_, values);
  }
  Tensor out(const Shape& shape) { return Tensor::zeros(ctx, shape, dtype_); }
  Tensor doubles(int64_t elems) { return Tensor::zeros(ctx, {elems}, DType::kF64); }

  HostAllocator allocator;
  Context ctx{.exec = CpuExec{}, .allocator = &allocator};
  CpuExec ex;

 private:
  DType dtype_;
};

const Shape kImages{2, 4, 6, 5}, kHalf{2, 2, 3, 5};

using Launch = std::function<Tensor(Operands&)>;
const std::vector<std::pair<const char*, Launch>>& launches() {
  static const std::vector<std::pair<const char*, Launch>> kLaunches = {
      {"relu",
       [](Operands& o) {
         Tensor y = o.out(kImages);
         relu_forward(o.ex, o.in(kImages), y);
         return y;
       }},
      {"tanh",
       [](Operands& o) {
         Tensor y = o.out(kImages);
         tanh_forward(o.ex, o.in(kImages), y);
         return y;
       }},
      {"softplus",
       [](Operands& o) {
         Tensor y = o.out(kImages);
         softplus_forward(o.ex, o.in(kImages), y);
         return y;
       }},
      {"tanh backward",
       [](Operands& o) {
         Tensor d = o.in(kImages, 3);
         tanh_backward(o.ex, o.in(kImages, 1), o.in(kImages, 2), d, true);
         return d;
       }},
      {"scale",
       [](Operands& o) {
         Tensor y = o.in(kImages, 1);
         scale(o.ex, o.in(kImages), -0.3, y, true);
         return y;
       }},
      {"add",
       [](Operands& o) {
         Tensor y = o.out(kImages);
         add(o.ex, o.in(kImages), o.in(kImages, 1), y);
         return y;
       }},
      {"add_bias",
       [](Operands& o) {
         Tensor y = o.out(kImages);
         add_bias(o.ex, o.in(kImages), o.in({5}, 1), y);
         return y;
       }},
      {"copy_features",
       [](Operands& o) {
         Tensor y = o.in({48, 7}, 1);
         copy_features(o.ex, o.in({48, 5}), 1, y, 3, 4, true);
         return y;
       }},
      {"column_sum",
       [](Operands& o) {
         Tensor y = o.in({5}, 1);
         column_sum(o.ex, o.in(kImages), {y, true}, {},
                    o.doubles(column_sum_scratch_elems(kImages)));
         return y;
       }},
      {"softmax",
       [](Operands& o) {
         Tensor y = o.out({9, 31});
         softmax_forward(o.ex, o.in({9, 31}), y);
         return y;
       }},
      {"upsample2x",
       [](Operands& o) {
         Tensor y = o.in(kImages, 1);
         upsample2x(o.ex, o.in(kHalf), 0.25, y, true);
         return y;
       }},
      {"pool_sum2x2",
       [](Operands& o) {
         Tensor y = o.in(kHalf, 1);
         pool_sum2x2(o.ex, o.in(kImages), 0.25, y, true);
         return y;
       }},
      {"add_upsampled",
       [](Operands& o) {
         Tensor y = o.out(kImages);
         add_upsampled(o.ex, o.in(kImages), o.in(kHalf), y);
         return y;
       }},
      {"global_pool",
       [](Operands& o) {
         Tensor y = o.out({2, 5});
         global_pool_forward(o.ex, o.in(kImages), 1.0 / 24, y);
         return y;
       }},
      {"max_pool",
       [](Operands& o) {
         Tensor y = o.out(kHalf);
         max_pool_forward(o.ex, {}, o.in(kImages), y, Tensor::zeros(o.ctx, kHalf, DType::kU8));
         return y;
       }},
      {"batch_norm",
       [](Operands& o) {
         const Tensor x = o.in(kImages), statistics = o.doubles(10).reshape({2, 5});
         batch_statistics(o.ex, x,
                          {.eps = 1e-3, .moments = o.doubles(11), .statistics = statistics},
                          o.doubles(batch_moments_scratch_elems(kImages)));
         Tensor y = o.out(kImages);
         batch_norm_apply(
             o.ex, {.x = x, .statistics = statistics, .gain = o.in({5}, 1), .bias = o.in({5}, 2)},
             y);
         return y;
       }},
  };
  return kLaunches;
}

}  // namespace

TEST_CASE("bf16: rounds to nearest even and keeps what is not finite") {
  CHECK(bf16(1.0f).bits == 0x3f80);
  CHECK(bf16(1.00390625f).bits == 0x3f80);  // halfway, to even
  CHECK(bf16(1.01171875f).bits == 0x3f82);  // halfway, to even
  CHECK(bf16(1.0040f).bits == 0x3f81);
  CHECK(bf16(INFINITY).bits == 0x7f80);
  CHECK(bf16(3.4e38f).bits == 0x7f80);  // beyond the largest
  CHECK(std::isnan(static_cast<float>(bf16(std::nanf("")))));
}

TEST_CASE("bf16: one rounding away from f32") {
  for (const auto& [name, launch] : launches()) {
    INFO(name);
    Operands f32(DType::kF32), narrow(DType::kBF16);
    const std::vector<double> expected = read(launch(f32)), found = read(launch(narrow));
    REQUIRE(found.size() == expected.size());
    for (size_t i = 0; i < found.size(); ++i) {
      CHECK(found[i] == static_cast<double>(bf16(static_cast<float>(expected[i]))));
    }
  }
}
