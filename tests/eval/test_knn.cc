#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "engine/util/thread_pool.h"
#include "eval/knn.h"

namespace bigbigan {
namespace {

Matrix random_matrix(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  Matrix x(rows, columns);
  for (float& v : x.values) v = normal(engine);
  return x;
}

std::vector<int32_t> nearest_on(const CpuExec& ex, const Matrix& train, const Matrix& test,
                                Metric metric, int64_t k) {
  HostAllocator memory;
  return nearest(ex, {.exec = ex, .allocator = &memory}, train, test, metric, k);
}

// The formula, word for word, in f64.
double distance(const Matrix& a, int64_t i, const Matrix& b, int64_t j, Metric metric) {
  double norm_a = 0, norm_b = 0, result = 0;
  for (int64_t c = 0; c < a.columns; ++c) {
    norm_a += metric == Metric::kL1 ? std::abs(a.row(i)[c]) : std::pow(a.row(i)[c], 2);
    norm_b += metric == Metric::kL1 ? std::abs(b.row(j)[c]) : std::pow(b.row(j)[c], 2);
  }
  if (metric != Metric::kL1) norm_a = std::sqrt(norm_a), norm_b = std::sqrt(norm_b);
  for (int64_t c = 0; c < a.columns; ++c) {
    const double x = norm_a > 0 ? a.row(i)[c] / norm_a : 0,
                 y = norm_b > 0 ? b.row(j)[c] / norm_b : 0;
    if (metric == Metric::kL1) result += std::abs(x - y);
    if (metric == Metric::kL2) result += (x - y) * (x - y);
    if (metric == Metric::kCosine) result -= x * y;
  }
  return metric == Metric::kCosine ? 1 + result : result;
}

// Requires that `found` is an ascending list of the k nearest: each as near as the naive one of its
// rank, to f32 rounding, and none twice.
void require_nearest(const Matrix& train, const Matrix& test, Metric metric, int64_t k) {
  const std::vector<int32_t> found = nearest_on(CpuExec{}, train, test, metric, k);
  REQUIRE(static_cast<int64_t>(found.size()) == test.rows * k);
  for (int64_t i = 0; i < test.rows; ++i) {
    std::vector<double> naive;
    for (int64_t j = 0; j < train.rows; ++j) naive.push_back(distance(test, i, train, j, metric));
    std::vector<double> sorted = naive;
    std::sort(sorted.begin(), sorted.end());
    std::vector<int32_t> mine(found.begin() + i * k, found.begin() + (i + 1) * k);
    for (int64_t r = 0; r < k; ++r) {
      INFO("test row " << i << ", rank " << r << ", training row " << mine[r]);
      REQUIRE(std::abs(naive[mine[r]] - sorted[r]) < 2e-6);
    }
    std::sort(mine.begin(), mine.end());
    REQUIRE(std::adjacent_find(mine.begin(), mine.end()) == mine.end());
  }
}

}  // namespace

TEST_CASE("neighbours are those of a naive loop", "[eval][knn]") {
  // Around the tiles' sizes: 1024 queries, 512 training rows; 64 queries and 8 rows of l1.
  const int64_t columns = GENERATE(1, 9);
  const auto [test_rows, train_rows] =
      GENERATE(std::pair<int64_t, int64_t>{1, 1}, std::pair<int64_t, int64_t>{67, 1031},
               std::pair<int64_t, int64_t>{64, 512}, std::pair<int64_t, int64_t>{3, 513},
               std::pair<int64_t, int64_t>{1027, 70});
  const Metric metric = GENERATE(Metric::kL1, Metric::kL2, Metric::kCosine);
  Matrix train = random_matrix(train_rows, columns, 1), test = random_matrix(test_rows, columns, 2);
  std::fill_n(train.row(0), columns, 0.0f);  // a zero vector has no direction
  CAPTURE(columns, test_rows, train_rows, int(metric));
  require_nearest(train, test, metric, std::min<int64_t>(50, train_rows));
}

TEST_CASE("neighbours at equal distance come in the order of their rows", "[eval][knn]") {
  const Metric metric = GENERATE(Metric::kL1, Metric::kL2, Metric::kCosine);
  const Matrix base = random_matrix(2, 5, 3);
  Matrix train(1100, 5);
  for (int64_t i = 0; i < train.rows; ++i)
    std::copy_n(base.row(i % 7 == 3 ? 0 : 1), 5, train.row(i));
  Matrix test(1, 5);
  std::copy_n(base.row(0), 5, test.row(0));
  const std::vector<int32_t> found = nearest_on(CpuExec{}, train, test, metric, 100);
  for (int32_t r = 0; r < 100; ++r) REQUIRE(found[r] == 3 + 7 * r);
}

TEST_CASE("neighbours do not depend on the number of threads", "[eval][knn]") {
  const Metric metric = GENERATE(Metric::kL1, Metric::kL2);
  const Matrix train = random_matrix(700, 11, 4), test = random_matrix(200, 11, 5);
  ThreadPool three(3);
  REQUIRE(nearest_on(CpuExec{}, train, test, metric, 25) ==
          nearest_on(CpuExec{&three}, train, test, metric, 25));
}

TEST_CASE("l2 and cosine find the same neighbours unless a training row is zero", "[eval][knn]") {
  Matrix train = random_matrix(300, 7, 6), test = random_matrix(40, 7, 7);
  std::fill_n(test.row(3), 7, 0.0f);
  const auto agree = [&] {
    return nearest_on(CpuExec{}, train, test, Metric::kL2, 300) ==
           nearest_on(CpuExec{}, train, test, Metric::kCosine, 300);
  };
  REQUIRE(l2_ranks_as_cosine(train));
  REQUIRE(agree());
  std::fill_n(train.row(299), 7, 0.0f);
  REQUIRE_FALSE(l2_ranks_as_cosine(train));
  REQUIRE_FALSE(agree());
}

TEST_CASE("votes count equally, and ties go to the class of the nearest", "[eval][knn]") {
  // Directions at growing angles from the query's.
  LabelledFeatures train{Matrix(5, 2), {2, 1, 1, 0, 0}};
  for (int64_t i = 0; i < 5; ++i) {
    train.x.row(i)[0] = std::cos(0.1f * static_cast<float>(i + 1));
    train.x.row(i)[1] = std::sin(0.1f * static_cast<float>(i + 1));
  }
  LabelledFeatures test{Matrix(1, 2), {0}};
  test.x.row(0)[0] = 1;
  const int64_t ks[] = {1, 2, 3, 5, 50};
  const auto right_for = [&](int64_t label) {
    test.labels = {label};
    HostAllocator memory;
    return knn_accuracy(CpuExec{}, {.exec = CpuExec{}, .allocator = &memory}, train, test, 3,
                        Metric::kCosine, ks);
  };
  // k=1: class 2. k=2: 2 and 1, the nearer. k=3: class 1. k=5: two of 1 and of 0, 1 is nearer.
  // k=50: all five.
  REQUIRE(right_for(2) == std::vector<double>{1, 1, 0, 0, 0});
  REQUIRE(right_for(1) == std::vector<double>{0, 0, 1, 1, 1});
  REQUIRE(right_for(0) == std::vector<double>{0, 0, 0, 0, 0});
}

}  // namespace bigbigan
