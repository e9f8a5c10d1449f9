// The search for nearest neighbours on CUDA against the CPU: the same lists, bit by bit.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/knn/l1_distances.h"
#include "kernels/knn/nearest.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

constexpr DType kDType = DType::kF32;

// Values with many ties: small integers.
Twin coarse(Twins& twins, const Shape& shape) {
  std::vector<double> values = read(twins.normal(shape, kDType, 3).cpu);
  for (double& v : values) v = std::round(v);
  return twins.of(shape, kDType, values);
}

struct Lists {
  Twin distances, rows;
  Lists(Twins& twins, int64_t queries, int64_t k)
      : distances(twins.fresh({queries, k}, kDType)),
        rows(twins.fresh({queries, k}, DType::kI32)) {}
};

void update(const Twins& twins, const Lists& lists, const Twin& scores, const Twin& offsets,
            float factor, int64_t first) {
  twins.run([&](const auto& ex, auto at) {
    update_nearest(ex, {.scores = at(scores),
                        .offsets = offsets.cpu ? at(offsets) : View(),
                        .factor = factor,
                        .first = first,
                        .distances = at(lists.distances),
                        .rows = at(lists.rows)});
  });
}

}  // namespace

TEST_CASE("nearest") {
  const int64_t k = GENERATE(1, 5, 33, 64);
  const bool ties = GENERATE(false, true), offset = GENERATE(false, true);
  for (const int64_t queries : {0, 1, 11}) {
    for (const auto& tiles :
         std::vector<std::vector<int64_t>>{{0}, {1}, {31, 33}, {256, 128, 4}, {257, 1}, {2000}}) {
      Twins twins;
      const Lists lists(twins, queries, k);
      int64_t first = 0;
      for (const int64_t rows : tiles) {
        const Twin scores =
            ties ? coarse(twins, {queries, rows}) : twins.normal({queries, rows}, kDType);
        const Twin offsets = offset ? twins.normal({rows}, kDType) : Twin();
        update(twins, lists, scores, offsets, offset ? -2.0f : 1.0f, first);
        first += rows;
      }
      INFO(queries << " queries, k " << k << ", ties " << ties << ", first tile " << tiles[0]);
      twins.require_equal(lists.distances);
      twins.require_equal(lists.rows);
    }
  }
}

// Each candidate is nearer than all before: the buffer of candidates overflows all the time.
TEST_CASE("nearest: references in descending order, and all at one distance") {
  const double step = GENERATE(-1.0, 0.0);
  Twins twins;
  constexpr int64_t kRows = 700, kNeighbours = 50;
  std::vector<double> values(kRows);
  for (int64_t i = 0; i < kRows; ++i) values[i] = step * static_cast<double>(i);
  const Twin scores = twins.of({1, kRows}, kDType, values);
  const Lists lists(twins, 1, kNeighbours);
  update(twins, lists, scores, {}, 1, 0);
  twins.require_equal(lists.distances);
  const std::vector<int32_t> rows = lists.rows.cuda.to_vector<int32_t>();
  for (int32_t i = 0; i < kNeighbours; ++i) REQUIRE(rows[i] == (step < 0 ? kRows - 1 - i : i));
}

TEST_CASE("nearest: what is not at a finite distance is no neighbour; -0 is 0") {
  const double inf = std::numeric_limits<double>::infinity();
  Twins twins;
  const Twin scores =
      twins.of({1, 5}, kDType, std::vector<double>{std::nan(""), inf, 0.0, -0.0, 2});
  const Lists lists(twins, 1, 4);
  update(twins, lists, scores, {}, 1, 0);
  for (const Tensor* rows : {&lists.rows.cpu, &lists.rows.cuda})
    REQUIRE(rows->to_vector<int32_t>() == std::vector<int32_t>{2, 3, 4, -1});
  REQUIRE(read(lists.distances.cuda) == std::vector<double>{0, 0, 2, inf});
}

TEST_CASE("l1 distances") {
  for (const auto& [queries, references, columns] : std::vector<std::array<int64_t, 3>>{
           {1, 1, 1}, {3, 31, 33}, {65, 67, 70}, {64, 128, 32}, {0, 5, 3}, {5, 0, 3}, {2, 3, 0}}) {
    Twins twins;
    const Twin q = twins.normal({queries, columns}, kDType);
    const Twin r = twins.normal({references, columns}, kDType);
    const Twin distances = twins.fresh({queries, references}, kDType);
    const Twin scratch =
        twins.fresh({l1_distances_scratch_elems(CpuExec{}, references, columns)}, kDType);
    twins.run([&](const auto& ex, auto at) {
      l1_distances(ex, at(q), at(r), at(distances), at(scratch));
    });
    INFO(queries << " queries, " << references << " references, " << columns << " columns");
    twins.require_close(distances, sum_tolerance(kDType, columns));
    const std::vector<double> a = read(q.cpu), b = read(r.cpu), found = read(distances.cuda);
    for (int64_t i = 0; i < queries * references; ++i) {
      double sum = 0;
      for (int64_t c = 0; c < columns; ++c)
        sum += std::abs(a[i / references * columns + c] - b[i % references * columns + c]);
      REQUIRE(found[i] == Approx(sum).epsilon(sum_tolerance(kDType, columns)).margin(0));
    }
  }
}
