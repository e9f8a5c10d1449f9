// Adam, moving averages and norms on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/optim/adam.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

constexpr DType kDType = DType::kF32;
const std::vector<int64_t> kSizes = {0, 1, 3, 31, 33, 50001};

}  // namespace

TEST_CASE("adam") {
  const int64_t update = GENERATE(1, 5, 100000);
  for (const int64_t n : kSizes) {
    for (const double beta1 : {0.0, 0.9}) {
      Twins twins;
      const Twin w = twins.normal({n}, kDType), g = twins.normal({n}, kDType);
      const Twin m = twins.normal({n}, kDType);
      std::vector<double> squares = read(m.cpu);
      for (double& v : squares) v *= v;
      const Twin v = twins.of({n}, kDType, squares);
      const Twin t = twins.of_integers({1}, std::vector<int64_t>{update - 1});
      const Twin skip = twins.of_integers({1}, std::vector<int32_t>{0});
      twins.run([&](const auto& ex, auto at) {
        increment(ex, at(t));
        adam_update(ex, {.value = at(w),
                         .grad = at(g),
                         .m = at(m),
                         .v = at(v),
                         .t = at(t),
                         .skip = at(skip),
                         .lr = 0.1,
                         .beta1 = beta1,
                         .beta2 = 0.999,
                         .eps = 1e-4});
      });
      INFO(n << " values, update " << update);
      twins.require_equal(t);
      for (const Twin& result : {w, m, v}) twins.require_close(result, sum_tolerance(kDType));
    }
  }
}

TEST_CASE("moving average") {
  for (const int64_t n : kSizes) {
    for (const double decay : {0.0, 0.9}) {
      Twins twins;
      const Twin average = twins.normal({n}, kDType), value = twins.normal({n}, kDType);
      const Twin skip = twins.of_integers({1}, std::vector<int32_t>{0});
      twins.run([&](const auto& ex, auto at) {
        ema_update(ex, at(average), at(value), decay, at(skip));
      });
      INFO(n << " values, decay " << decay);
      twins.require_close(average, sum_tolerance(kDType));
    }
  }
}

TEST_CASE("a skipped step changes nothing") {
  Twins twins;
  const Twin w = twins.normal({33}, kDType), m = twins.normal({33}, kDType);
  const Twin v = twins.normal({33}, kDType), average = twins.normal({33}, kDType);
  const Twin g = twins.normal({33}, kDType, std::nan(""));
  const Twin t = twins.of_integers({1}, std::vector<int64_t>{3});
  const Twin skip = twins.of_integers({1}, std::vector<int32_t>{1});
  const auto state = [&] {
    return std::vector{read(w.cuda), read(m.cuda), read(v.cuda), read(average.cuda)};
  };
  const auto before = state();
  twins.run([&](const auto& ex, auto at) {
    adam_update(ex, {.value = at(w),
                     .grad = at(g),
                     .m = at(m),
                     .v = at(v),
                     .t = at(t),
                     .skip = at(skip),
                     .lr = 0.1,
                     .beta1 = 0.5,
                     .beta2 = 0.9,
                     .eps = 1e-4});
    ema_update(ex, at(average), at(w), 0.9, at(skip));
  });
  REQUIRE(state() == before);
}

TEST_CASE("sum of squares") {
  for (const int64_t n : {0, 1, 3, 31, 33, 16385, 50001}) {
    Twins twins;
    const Twin x = twins.normal({n}, kDType), sum = twins.fresh({1}, kDType);
    const Twin skip = twins.of_integers({1}, std::vector<int32_t>{0});
    const Twin scratch = twins.fresh({sum_of_squares_scratch_elems(n)}, DType::kF64);
    twins.run([&](const auto& ex, auto at) {
      sum_of_squares(ex, at(x), at(sum), at(skip), at(scratch));
    });
    INFO(n);
    twins.require_close(sum, sum_tolerance(kDType));
    twins.require_equal(skip);
  }
}

// Squares beyond f32 make an infinite norm, but only values that are not finite skip the step.
TEST_CASE("sum of squares: what is skipped") {
  for (const double value : {1e30, -1e30, double{INFINITY}, std::nan("")}) {
    Twins twins;
    std::vector<double> values(5000, 1.0);
    values[4321] = value;
    const Twin x = twins.of({5000}, kDType, values), sum = twins.fresh({1}, kDType);
    const Twin skip = twins.of_integers({1}, std::vector<int32_t>{0});
    const Twin scratch = twins.fresh({sum_of_squares_scratch_elems(5000)}, DType::kF64);
    twins.run([&](const auto& ex, auto at) {
      sum_of_squares(ex, at(x), at(sum), at(skip), at(scratch));
    });
    INFO(value);
    twins.require_equal(skip);
    int32_t skipped = 0;
    skip.cuda.read(&skipped);
    REQUIRE(skipped == (std::isfinite(value) ? 0 : 1));
    REQUIRE(std::isfinite(read(sum.cuda)[0]) == false);
  }
}
