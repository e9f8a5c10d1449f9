#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <vector>

#include "engine/data/sampler.h"
#include "kernels/common/error.h"

using namespace bigbigan;

namespace {

std::vector<int64_t> epoch_of(const Sampler& sampler, int64_t size, int64_t epoch) {
  std::vector<int64_t> order;
  for (int64_t i = 0; i < size; ++i) order.push_back(sampler.index(epoch * size + i));
  return order;
}

}  // namespace

TEST_CASE("sampler: every epoch is a permutation, each its own") {
  for (const int64_t size : {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 60000}) {
    const Sampler sampler(size, 7);
    std::set<std::vector<int64_t>> orders;
    for (int64_t epoch = 0; epoch < 3; ++epoch) {
      const auto order = epoch_of(sampler, size, epoch);
      const std::set<int64_t> seen(order.begin(), order.end());
      REQUIRE(static_cast<int64_t>(seen.size()) == size);
      REQUIRE(*seen.begin() == 0);
      REQUIRE(*seen.rbegin() == size - 1);
      orders.insert(order);
    }
    if (size >= 15) REQUIRE(orders.size() == 3);
  }
}

TEST_CASE("sampler: the order is a function of seed and position") {
  const Sampler a(1000, 1), same(1000, 1), other(1000, 2);
  const auto order = epoch_of(a, 1000, 5);
  REQUIRE(epoch_of(same, 1000, 5) == order);
  REQUIRE(epoch_of(other, 1000, 5) != order);
  REQUIRE(a.index(5432) == order[432]);  // without what came before
}

TEST_CASE("sampler: an image follows the one before it only by chance") {
  constexpr int64_t kSize = 10000;
  const auto order = epoch_of(Sampler(kSize, 3), kSize, 0);
  int neighbours = 0, fixed = 0;
  for (int64_t i = 0; i < kSize; ++i) {
    fixed += order[i] == i ? 1 : 0;
    neighbours += i > 0 && order[i] == order[i - 1] + 1 ? 1 : 0;
  }
  // Both are Poisson of mean 1: 8 or more has a chance of 1e-5.
  REQUIRE(fixed < 8);
  REQUIRE(neighbours < 8);
}

TEST_CASE("sampler: flips are a fair coin, keyed by position") {
  constexpr int64_t kDraws = 100000;
  const Sampler sampler(10, 4), same(999, 4), other(10, 5);
  int64_t flips = 0, repeats = 0, differ = 0;
  for (int64_t i = 0; i < kDraws; ++i) {
    flips += sampler.flip(i) ? 1 : 0;
    repeats += i > 0 && sampler.flip(i) == sampler.flip(i - 1) ? 1 : 0;
    differ += sampler.flip(i) != other.flip(i) ? 1 : 0;
    REQUIRE(sampler.flip(i) == same.flip(i));
  }
  const double sigma = std::sqrt(kDraws) / 2;
  for (const int64_t count : {flips, repeats, differ}) {
    REQUIRE(std::abs(static_cast<double>(count) - kDraws / 2.0) < 5 * sigma);
  }
}

TEST_CASE("sampler: positions far into a run, and none before it") {
  const Sampler sampler(60000, 1);
  const int64_t far = int64_t{1} << 45;
  REQUIRE(sampler.index(far) >= 0);
  REQUIRE(sampler.index(far) < 60000);
  REQUIRE_THROWS_AS(sampler.index(-1), Error);
  REQUIRE_THROWS_AS(Sampler(0, 1), Error);
}
