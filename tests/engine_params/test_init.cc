// Orthogonal initial weights.
#include "engine/params/init.h"

#include <catch2/catch.hpp>
#include <cmath>

using namespace bigbigan;

TEST_CASE("orthogonal: rows or columns are orthonormal") {
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {1, 17}, {17, 1}, {8, 8}, {5, 36}, {36, 5}, {33, 31}, {64, 576}}) {
    INFO(rows << " x " << columns);
    const std::vector<double> w = orthogonal(3, "w", rows, columns);
    REQUIRE(static_cast<int64_t>(w.size()) == rows * columns);
    const bool wide = rows <= columns;
    const int64_t count = std::min(rows, columns), length = std::max(rows, columns);
    const auto element = [&](int64_t vector, int64_t i) {
      return wide ? w[vector * columns + i] : w[i * columns + vector];
    };
    for (int64_t a = 0; a < count; ++a) {
      for (int64_t b = 0; b <= a; ++b) {
        double dot = 0;
        for (int64_t i = 0; i < length; ++i) dot += element(a, i) * element(b, i);
        CHECK(std::abs(dot - (a == b ? 1 : 0)) < 2e-6);
      }
    }
  }
  CHECK(orthogonal(3, "w", 0, 5).empty());
}

TEST_CASE("orthogonal: a function of seed and name") {
  const auto w = orthogonal(1, "generator.linear.weight", 4, 6);
  CHECK(orthogonal(1, "generator.linear.weight", 4, 6) == w);
  CHECK(orthogonal(2, "generator.linear.weight", 4, 6) != w);
  CHECK(orthogonal(1, "generator.linear.bias", 4, 6) != w);
}

// Without the signs of R's diagonal Householder's Q prefers one half of the sphere.
TEST_CASE("orthogonal: directions are spread evenly") {
  constexpr int kDraws = 2000;
  double positive = 0, first = 0, square = 0;
  for (int i = 0; i < kDraws; ++i) {
    positive += orthogonal(i, "one", 1, 1)[0] > 0 ? 1 : 0;
    const double v = orthogonal(i, "three", 3, 3)[0];
    first += v;
    square += v * v;
  }
  CHECK(std::abs(positive / kDraws - 0.5) < 5 * 0.5 / std::sqrt(kDraws));
  CHECK(std::abs(first / kDraws) < 5 * std::sqrt(1.0 / 3 / kDraws));
  CHECK(square / kDraws == Approx(1.0 / 3).epsilon(0.1));
}
