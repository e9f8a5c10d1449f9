// The optimiser, moving averages and norms on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/optim/adam.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

constexpr DType kDType = DType::kF32;
const std::vector<int64_t> kSizes = {0, 1, 3, 31, 33, 50001};

// The state of an optimiser, `offset` elements behind an aligned address.
struct State {
  Twin w, g, m, v, average, packed, t, skip;

  State(Twins& twins, int64_t n, int64_t update, int64_t offset = 0) {
    const auto tail = [&](const Twin& all) {
      return Twin{all.cpu.slice(offset, offset + n), all.cuda.slice(offset, offset + n)};
    };
    const auto normal = [&] { return twins.normal({offset + n}, kDType); };
    const Twin squares = normal();
    std::vector<double> values = read(squares.cpu);
    for (double& value : values) value *= value;
    w = tail(normal());
    g = tail(normal());
    m = tail(normal());
    v = tail(twins.of({offset + n}, kDType, values));
    average = tail(normal());
    packed = tail(twins.fresh({offset + n}, DType::kBF16));
    t = twins.of_integers({1}, std::vector<int64_t>{update});
    skip = twins.of_integers({1}, std::vector<int32_t>{0});
  }
  template <class At>
  UpdateArgs args(const At& at) const {
    return {.value = at(w),
            .grad = at(g),
            .m = at(m),
            .v = at(v),
            .t = at(t),
            .skip = at(skip),
            .lr = 0.1,
            .beta1 = 0.5,
            .beta2 = 0.999,
            .eps = 1e-4,
            .decay = 0.9};
  }
  template <class At>
  UpdateArgs all_args(const At& at) const {
    UpdateArgs all = args(at);
    all.average = at(average);
    all.packed = at(packed);
    return all;
  }
};

}  // namespace

TEST_CASE("optimizer update") {
  const int64_t update = GENERATE(1, 5, 100000), offset = GENERATE(0, 1);
  for (const int64_t n : kSizes) {
    for (const double beta1 : {0.0, 0.9}) {
      Twins twins;
      const State s(twins, n, update - 1, offset);
      twins.run([&](const auto& ex, auto at) {
        increment(ex, at(s.t));
        UpdateArgs args = s.all_args(at);
        args.beta1 = beta1;
        optimizer_update(ex, args);
      });
      INFO(n << " values, update " << update << ", beta1 " << beta1 << ", offset " << offset);
      twins.require_equal(s.t);
      for (const Twin& result : {s.w, s.m, s.v, s.average})
        twins.require_close(result, sum_tolerance(kDType));
      twins.require_close(s.packed, sum_tolerance(DType::kBF16));
    }
  }
}

// The fused update leaves the same bits as an update, a moving average of its result, and a
// conversion of it.
TEST_CASE("optimizer update: its composite") {
  const double decay = GENERATE(0.0, 0.9);
  const int64_t offset = GENERATE(0, 1);
  for (const int64_t n : kSizes) {
    Twins fused_twins, twins;  // both draw the same
    const State fused(fused_twins, n, 3, offset), plain(twins, n, 3, offset);
    fused_twins.run([&](const auto& ex, auto at) {
      UpdateArgs args = fused.all_args(at);
      args.decay = decay;
      optimizer_update(ex, args);
    });
    twins.run([&](const auto& ex, auto at) {
      optimizer_update(ex, plain.args(at));
      ema_update(ex, at(plain.average), at(plain.w), decay, at(plain.skip));
    });
    INFO(n << " values, decay " << decay << ", offset " << offset);
    for (const auto member : {&State::w, &State::m, &State::v, &State::average})
      REQUIRE(read((fused.*member).cuda) == read((plain.*member).cuda));
    std::vector<double> rounded = read(plain.w.cuda);
    for (double& value : rounded) value = static_cast<double>(bf16(static_cast<float>(value)));
    REQUIRE(read(fused.packed.cuda) == rounded);
    if (decay == 0) REQUIRE(read(fused.average.cuda) == read(fused.w.cuda));
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
  State s(twins, 33, 3);
  s.g = twins.normal({33}, kDType, std::nan(""));
  s.packed = twins.normal({33}, DType::kBF16);
  s.skip = twins.of_integers({1}, std::vector<int32_t>{1});
  const auto state = [&] {
    return std::vector{read(s.w.cuda), read(s.m.cuda), read(s.v.cuda), read(s.average.cuda),
                       read(s.packed.cuda)};
  };
  const auto before = state();
  twins.run([&](const auto& ex, auto at) {
    optimizer_update(ex, s.all_args(at));
    ema_update(ex, at(s.average), at(s.w), 0.9, at(s.skip));
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
