#include "eval/knn.h"

#include <algorithm>
#include <cmath>

#include "engine/core/tensor.h"
#include "eval/progress.h"
#include "kernels/knn/l1_distances.h"
#include "kernels/knn/nearest.h"
#include "kernels/linear/gemm.h"

namespace bigbigan {
namespace {

// Rows per tile of test rows and training rows. On the CPU their distances stay in the cache; on a
// GPU the product of two tiles must be large enough to fill it, and the distances take 128 MiB.
struct TileSizes {
  int64_t queries, references;
};
constexpr TileSizes kCpuTiles = {1024, 512}, kDeviceTiles = {4096, 8192};

// Rows divided by their p-norm, and what an l2 or cosine distance adds for each: its squared l2
// norm, 1, or 0 for a zero row.
struct Normalized {
  Matrix x;
  std::vector<float> offsets;
};

Normalized normalized(const CpuExec& ex, const Matrix& x, Metric metric) {
  constexpr int64_t kGrain = 512;
  Normalized out{x, std::vector<float>(x.rows, metric == Metric::kCosine ? 1.0f : 0.0f)};
  ex.for_range(x.rows, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* row = out.x.row(i);
      double norm = 0;
      for (int64_t j = 0; j < x.columns; ++j)
        norm += metric == Metric::kL1 ? std::abs(row[j]) : double(row[j]) * row[j];
      if (metric != Metric::kL1) norm = std::sqrt(norm);
      if (norm == 0) continue;
      for (int64_t j = 0; j < x.columns; ++j) row[j] = static_cast<float>(row[j] / norm);
      out.offsets[i] = 1;
    }
  });
  return out;
}

// Rows [first, first + rows) where ctx computes: in place on the CPU.
Tensor on_device(const Context& ctx, Matrix& x, int64_t first, int64_t rows) {
  const Shape shape{rows, x.columns};
  if (ctx.is_on_host()) return Tensor::borrow({x.row(first), shape, DType::kF32});
  return Tensor::from_host(ctx, shape, DType::kF32, x.row(first), MemoryTag::kData);
}

// The lists of the nearest of all test rows, to which tiles of training rows are offered in order.
class Search {
 public:
  Search(const Context& ctx, Matrix& queries, Metric metric, int64_t k)
      : ctx_(ctx),
        metric_(metric),
        sizes_(ctx.is_on_host() ? kCpuTiles : kDeviceTiles),
        queries_(on_device(ctx, queries, 0, queries.rows)),
        distances_(Tensor::empty(ctx, {queries.rows, k}, DType::kF32)),
        rows_(Tensor::empty(ctx, {queries.rows, k}, DType::kI32)) {
    sizes_.queries = std::min(sizes_.queries, queries.rows);
    scores_ = Tensor::empty(ctx, {sizes_.queries * sizes_.references}, DType::kF32);
    ctx.run([&](const auto& ex) {
      const int64_t elems = l1_distances_scratch_elems(ex, sizes_.references, queries.columns);
      if (metric == Metric::kL1) scratch_ = Tensor::empty(ctx, {elems}, DType::kF32);
    });
  }

  [[nodiscard]] int64_t tile_rows() const { return sizes_.references; }
  void offer(Normalized& train, int64_t first, int64_t rows) const {
    const Tensor references = on_device(ctx_, train.x, first, rows);
    const Tensor offsets = metric_ == Metric::kL1 ? Tensor()
                                                  : Tensor::from_host(ctx_, {rows}, DType::kF32,
                                                                      train.offsets.data() + first);
    const int64_t all = queries_.shape()[0];
    for (int64_t begin = 0; begin < all; begin += sizes_.queries) {
      const int64_t end = std::min(all, begin + sizes_.queries);
      const Tensor scores = scores_.slice(0, (end - begin) * rows).reshape({end - begin, rows});
      score(queries_.slice(begin, end), references, scores);
      ctx_.run([&](const auto& ex) {
        update_nearest(ex, {.scores = scores,
                            .offsets = offsets,
                            .factor = metric_ == Metric::kL1 ? 1.0f : -2.0f,
                            .first = first,
                            .distances = distances_.slice(begin, end),
                            .rows = rows_.slice(begin, end)});
      });
    }
  }
  [[nodiscard]] std::vector<int32_t> rows() const { return rows_.to_vector<int32_t>(); }

 private:
  void score(const Tensor& queries, const Tensor& references, const Tensor& scores) const {
    ctx_.run([&](const auto& ex) {
      if (metric_ == Metric::kL1) return l1_distances(ex, queries, references, scores, scratch_);
      gemm(ex, {.a = queries, .b = references, .transpose_b = true, .c = scores});
    });
  }

  const Context& ctx_;
  Metric metric_;
  TileSizes sizes_;
  Tensor queries_, distances_, rows_, scores_, scratch_;
};

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

std::vector<int32_t> nearest(const CpuExec& host, const Context& ctx, const Matrix& train,
                             const Matrix& test, Metric metric, int64_t k) {
  check(train.columns == test.columns && 0 < k && k <= train.rows,
        "nearest: {} of {} rows, {} and {} features", k, train.rows, train.columns, test.columns);
  Normalized from = normalized(host, train, metric), to = normalized(host, test, metric);
  const Search search(ctx, to.x, metric, k);
  Progress progress("neighbours");
  for (int64_t first = 0; first < train.rows; first += search.tile_rows()) {
    progress.update(first, train.rows);
    search.offer(from, first, std::min(search.tile_rows(), train.rows - first));
  }
  return search.rows();
}

bool l2_ranks_as_cosine(const Matrix& train) {
  for (int64_t i = 0; i < train.rows; ++i) {
    const float* row = train.row(i);
    if (std::all_of(row, row + train.columns, [](float v) { return v == 0; })) return false;
  }
  return true;
}

std::vector<double> knn_accuracy(const CpuExec& host, const Context& ctx,
                                 const LabelledFeatures& train, const LabelledFeatures& test,
                                 int64_t classes, Metric metric, std::span<const int64_t> ks) {
  const int64_t most = std::min(train.x.rows, *std::max_element(ks.begin(), ks.end()));
  const std::vector<int32_t> neighbours = nearest(host, ctx, train.x, test.x, metric, most);
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
