// The optimiser, moving averages and norms on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/optim/adam.h"
#include "kernels/optim/gradient_sums.h"
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

// Weights under spectral norm, each behind 7 other parameters where `gap`: no rows, single
// elements, whole packs in a row and not, several chunks, more than a table holds.
struct FlatWeights {
  std::vector<Twin> u, v;
  std::vector<int64_t> begins;
  Twin sigmas, sums, scratch;
  int64_t elems = 0;

  FlatWeights(Twins& twins, const std::vector<std::pair<int64_t, int64_t>>& matrices, int64_t gap) {
    for (const auto& [rows, columns] : matrices) {
      elems += gap;
      begins.push_back(elems);
      elems += rows * columns;
      u.push_back(twins.normal({rows}, kDType, 1 / std::sqrt(1.0 + static_cast<double>(rows))));
      v.push_back(twins.normal({columns}, kDType, 1 / std::sqrt(static_cast<double>(columns))));
    }
    elems += gap;
    std::vector<double> values;
    for (size_t i = 0; i < matrices.size(); ++i) {
      values.push_back(0.5 + static_cast<double>(i % 7));
    }
    sigmas = twins.of({std::ssize(values)}, kDType, values);
    const NormalizedWeights weights = at_begin([](const Twin& t) { return t.cpu.view(); });
    sums = twins.fresh(gradient_sums_shape(weights), DType::kF64);
    scratch = twins.fresh({gradient_sums_scratch_elems(elems, weights)}, DType::kF64);
  }

  template <class At>
  NormalizedWeights at_begin(const At& at, int64_t begin = 0) const {
    NormalizedWeights weights{.sigmas = at(sigmas)};
    for (size_t i = 0; i < u.size(); ++i) {
      weights.list.push_back({.begin = begins[i] - begin, .u = at(u[i]), .v = at(v[i])});
    }
    return weights;
  }
};

std::vector<std::pair<int64_t, int64_t>> many_matrices() {
  std::vector<std::pair<int64_t, int64_t>> matrices = {{0, 4},    {1, 1},   {3, 31},   {31, 33},
                                                       {5, 4000}, {300, 8}, {2, 9001}, {65, 9}};
  for (int i = 0; i < 300; ++i) matrices.emplace_back(1 + i % 3, 1 + i % 5);
  return matrices;
}

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

TEST_CASE("gradient sums and norm of normalised weights") {
  const int64_t gap = GENERATE(0, 7, 8);
  Twins twins;
  const FlatWeights flat(twins, many_matrices(), gap);
  const Twin value = twins.normal({flat.elems}, kDType), grad = twins.normal({flat.elems}, kDType);
  const Twin norm = twins.fresh({1}, kDType);
  const Twin skip = twins.of_integers({1}, std::vector<int32_t>{0});
  // At once, and in pieces that cut weights anywhere.
  const auto cuts = GENERATE(values<std::vector<int64_t>>({{0}, {0, 2, 94, 9000, 21000}}));
  twins.run([&](const auto& ex, auto at) {
    for (size_t i = 0; i < cuts.size(); ++i) {
      const int64_t begin = cuts[i], end = i + 1 < cuts.size() ? cuts[i + 1] : flat.elems;
      const auto part = [&](const Twin& t) {
        return at(Twin{t.cpu.slice(begin, end), t.cuda.slice(begin, end)});
      };
      gradient_sums(ex, part(value), part(grad), flat.at_begin(at, begin), at(flat.sums), i > 0,
                    at(flat.scratch));
    }
    gradient_norm(ex, flat.at_begin(at), at(flat.sums), at(norm), at(skip));
  });
  INFO("gap " << gap << ", " << cuts.size() << " pieces");
  twins.require_within(flat.sums, sum_tolerance(kDType, 32) * twins.largest(flat.sums));
  twins.require_close(norm, sum_tolerance(kDType, 32));
  twins.require_equal(skip);
}

TEST_CASE("optimizer update: normalised weights") {
  const int64_t gap = GENERATE(0, 7, 8);
  const int64_t begin = GENERATE(0, 3, 20004);  // a piece that begins within a weight
  Twins twins;
  const FlatWeights flat(twins, many_matrices(), gap);
  const State s(twins, flat.elems - begin, 3);
  const Twin sums = twins.normal(flat.sums.cpu.shape(), DType::kF64);
  twins.run([&](const auto& ex, auto at) {
    UpdateArgs args = s.all_args(at);
    args.normalized = flat.at_begin(at, begin);
    args.sums = at(sums);
    optimizer_update(ex, args);
  });
  INFO("gap " << gap << ", from element " << begin);
  for (const Twin& result : {s.w, s.m, s.v, s.average})
    twins.require_close(result, 4 * sum_tolerance(kDType));
  twins.require_close(s.packed, sum_tolerance(DType::kBF16));
}

TEST_CASE("gradient norm of ordinary parameters") {
  for (const int64_t n : kSizes) {
    Twins twins;
    const FlatWeights none(twins, {}, n);
    const Twin grad = twins.normal({n}, kDType), norm = twins.fresh({1}, kDType);
    const Twin skip = twins.of_integers({1}, std::vector<int32_t>{0});
    twins.run([&](const auto& ex, auto at) {
      gradient_sums(ex, at(grad), at(grad), none.at_begin(at), at(none.sums), false,
                    at(none.scratch));
      gradient_norm(ex, none.at_begin(at), at(none.sums), at(norm), at(skip));
    });
    INFO(n);
    twins.require_close(norm, sum_tolerance(kDType));
    twins.require_equal(skip);
  }
}

// Squares beyond f32 make an infinite norm, but only values that are not finite skip the step.
TEST_CASE("gradient norm: what is skipped") {
  const bool normalised = GENERATE(false, true);
  for (const double value : {1e30, -1e30, double{INFINITY}, std::nan("")}) {
    Twins twins;
    const FlatWeights flat(twins, {{50, 100}}, 10);
    std::vector<double> values(flat.elems, 1.0);
    values[normalised ? 4321 : 3] = value;
    const Twin w = twins.normal({flat.elems}, kDType),
               grad = twins.of({flat.elems}, kDType, values);
    const Twin norm = twins.fresh({1}, kDType);
    const Twin skip = twins.of_integers({1}, std::vector<int32_t>{0});
    twins.run([&](const auto& ex, auto at) {
      gradient_sums(ex, at(w), at(grad), flat.at_begin(at), at(flat.sums), false, at(flat.scratch));
      gradient_norm(ex, flat.at_begin(at), at(flat.sums), at(norm), at(skip));
    });
    INFO(value << ", normalised " << normalised);
    twins.require_equal(skip);
    int32_t skipped = 0;
    skip.cuda.read(&skipped);
    REQUIRE(skipped == (std::isfinite(value) ? 0 : 1));
    REQUIRE(std::isfinite(read(norm.cuda)[0]) == false);
  }
}
