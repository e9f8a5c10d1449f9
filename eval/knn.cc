#include "eval/knn.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "eval/session.h"
#include "kernels/linear/gemm.h"

namespace bigbigan {
namespace {

// Rows per tile: distances of kQueries test rows to kTrainRows training rows stay in the cache.
constexpr int64_t kQueries = 64;
constexpr int64_t kTrainRows = 512;

// Rows divided by their p-norm, and the squared l2 norm of each afterwards: 1, or 0 for a zero row.
struct Normalized {
  Matrix x;
  std::vector<float> squared;
};

Normalized normalized(const CpuExec& ex, const Matrix& x, Metric metric) {
  Normalized out{x, std::vector<float>(x.rows)};
  ex.for_range(x.rows, kTrainRows, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = out.x.row(i);
      double norm = 0;
      for (int64_t j = 0; j < x.columns; ++j)
        norm += metric == Metric::kL1 ? std::abs(row[j]) : double(row[j]) * row[j];
      if (metric != Metric::kL1) norm = std::sqrt(norm);
      if (norm == 0) continue;
      for (int64_t j = 0; j < x.columns; ++j) row[j] = static_cast<float>(row[j] / norm);
      out.squared[i] = 1;
    }
  });
  return out;
}

// The k smallest (distance, row) of those offered in ascending order of row.
class Nearest {
 public:
  explicit Nearest(int64_t k) : k_(k) { heap_.reserve(k); }

  void offer(const float* distances, int64_t count, int64_t first_row) {
    for (int64_t i = 0; i < count; ++i) {
      // A later row at the largest distance kept is behind it: strictly less.
      if (distances[i] < worst_) insert({distances[i], static_cast<int32_t>(first_row + i)});
    }
  }
  // Nearest first; ends this object's use.
  void write(int32_t* rows) {
    std::sort_heap(heap_.begin(), heap_.end());
    for (const auto& [distance, row] : heap_) *rows++ = row;
  }

 private:
  void insert(std::pair<float, int32_t> candidate) {
    if (static_cast<int64_t>(heap_.size()) == k_) {
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.pop_back();
    }
    heap_.push_back(candidate);
    std::push_heap(heap_.begin(), heap_.end());
    if (static_cast<int64_t>(heap_.size()) == k_) worst_ = heap_.front().first;
  }

  int64_t k_;
  float worst_ = std::numeric_limits<float>::infinity();
  std::vector<std::pair<float, int32_t>> heap_;  // the farthest first
};

// Distances of a tile, (queries, kTrainRows), up to terms that are equal for all training rows.
void l2_tile(const Matrix& test, int64_t query, int64_t queries, const Normalized& train,
             int64_t first, int64_t rows, bool cosine, float* distances) {
  gemm(CpuExec{}, {.a = {test.row(query), {queries, test.columns}, DType::kF32},
                   .b = {train.x.row(first), {rows, test.columns}, DType::kF32},
                   .transpose_b = true,
                   .c = {distances, {queries, rows}, DType::kF32}});
  for (int64_t i = 0; i < queries; ++i) {
    for (int64_t j = 0; j < rows; ++j) {
      const float squared = cosine ? 1.0f : train.squared[first + j];
      distances[i * rows + j] = squared - 2 * distances[i * rows + j];
    }
  }
}

// Training rows transposed in groups of kGroup: (groups, columns, kGroup), zeros behind the last
// row.
constexpr int64_t kGroup = 8;
std::vector<float> grouped(const Matrix& x, int64_t first, int64_t rows) {
  const int64_t groups = (rows + kGroup - 1) / kGroup;
  std::vector<float> out(groups * x.columns * kGroup);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < x.columns; ++j) {
      out[(i / kGroup * x.columns + j) * kGroup + i % kGroup] = x.row(first + i)[j];
    }
  }
  return out;
}

// Vectors of one number for each row of a group. Spelt out: compilers do not find this form in
// loops.
using Floats = float __attribute__((vector_size(kGroup * sizeof(float))));
using Words = int32_t __attribute__((vector_size(kGroup * sizeof(int32_t))));

// Sums of absolute differences of kRows queries to one group of training rows: the sums stay in
// registers.
template <int kRows>
void l1_block(const float* query, int64_t columns, const float* group, float* out, int64_t stride,
              int64_t rows) {
  constexpr int32_t kAllButSign = 0x7fffffff;
  Floats sum[kRows] = {};
  for (int64_t j = 0; j < columns; ++j) {
    Floats values;
    std::memcpy(&values, group + j * kGroup, sizeof values);
    for (int q = 0; q < kRows; ++q) {
      const Floats difference = values - query[q * columns + j];
      sum[q] += reinterpret_cast<Floats>(reinterpret_cast<Words>(difference) & kAllButSign);
    }
  }
  for (int q = 0; q < kRows; ++q) std::memcpy(out + q * stride, &sum[q], rows * sizeof(float));
}

void l1_tile(const Matrix& test, int64_t query, int64_t queries, const std::vector<float>& groups,
             int64_t rows, float* distances) {
  constexpr int kRows = 8;
  const int64_t d = test.columns;
  for (int64_t first = 0; first < rows; first += kGroup) {
    const float* group = groups.data() + first * d;
    const int64_t count = std::min(kGroup, rows - first);
    int64_t i = 0;
    for (; i + kRows <= queries; i += kRows) {
      l1_block<kRows>(test.row(query + i), d, group, distances + i * rows + first, rows, count);
    }
    for (; i < queries; ++i)
      l1_block<1>(test.row(query + i), d, group, distances + i * rows + first, rows, count);
  }
}

// The class with most votes; of equal ones the class that reached first.
int64_t vote(const int32_t* neighbours, int64_t k, const Labels& labels,
             std::vector<int64_t>& votes) {
  std::fill(votes.begin(), votes.end(), 0);
  for (int64_t i = 0; i < k; ++i) ++votes[labels[neighbours[i]]];
  int64_t winner = labels[neighbours[0]];
  for (int64_t i = 1; i < k; ++i) {
    const int64_t candidate = labels[neighbours[i]];
    if (votes[candidate] > votes[winner]) winner = candidate;
  }
  return winner;
}

}  // namespace

std::vector<int32_t> nearest(const CpuExec& ex, const Matrix& train, const Matrix& test,
                             Metric metric, int64_t k) {
  check(train.columns == test.columns && 0 < k && k <= train.rows,
        "nearest: {} of {} rows, {} and {} features", k, train.rows, train.columns, test.columns);
  const Normalized from = normalized(ex, train, metric), to = normalized(ex, test, metric);
  std::vector<Nearest> best(test.rows, Nearest(k));
  Progress progress("neighbours");
  for (int64_t first = 0; first < train.rows; first += kTrainRows) {
    progress.update(first, train.rows);
    const int64_t rows = std::min(kTrainRows, train.rows - first);
    const std::vector<float> groups =
        metric == Metric::kL1 ? grouped(from.x, first, rows) : std::vector<float>();
    ex.for_range(test.rows, kQueries, [&](int64_t begin, int64_t end) {
      std::vector<float> tile((end - begin) * rows);
      if (metric == Metric::kL1) {
        l1_tile(to.x, begin, end - begin, groups, rows, tile.data());
      } else {
        l2_tile(to.x, begin, end - begin, from, first, rows, metric == Metric::kCosine,
                tile.data());
      }
      for (int64_t i = begin; i < end; ++i)
        best[i].offer(tile.data() + (i - begin) * rows, rows, first);
    });
  }
  std::vector<int32_t> result(test.rows * k);
  ex.for_range(test.rows, kQueries, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) best[i].write(result.data() + i * k);
  });
  return result;
}

bool l2_ranks_as_cosine(const Matrix& train) {
  for (int64_t i = 0; i < train.rows; ++i) {
    const float* row = train.row(i);
    if (std::all_of(row, row + train.columns, [](float v) { return v == 0; })) return false;
  }
  return true;
}

std::vector<double> knn_accuracy(const CpuExec& ex, const LabelledFeatures& train,
                                 const LabelledFeatures& test, int64_t classes, Metric metric,
                                 std::span<const int64_t> ks) {
  const int64_t most = std::min(train.x.rows, *std::max_element(ks.begin(), ks.end()));
  const std::vector<int32_t> neighbours = nearest(ex, train.x, test.x, metric, most);
  std::vector<int64_t> votes(classes);
  std::vector<double> accuracy;
  for (const int64_t k : ks) {
    int64_t right = 0;
    for (int64_t i = 0; i < test.x.rows; ++i) {
      right += vote(&neighbours[i * most], std::min(k, most), train.labels, votes) == test.labels[i]
                   ? 1
                   : 0;
    }
    accuracy.push_back(static_cast<double>(right) / static_cast<double>(test.x.rows));
  }
  return accuracy;
}

}  // namespace bigbigan
