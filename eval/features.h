// Features of images as matrices: BN+CReLU, labels, and the files they are kept in.
//
// Note [Feature files]: a folder holds features.npy (N, D) f32, labels.npy (N) i64 with -1 for
// none, index.tsv (row path label width height) and feature_stats.npy (2, D) f64, the mean
// and the biased variance of each AvePool feature; all in the order of the data set. Shard i of n
// adds _<i> to the names and writes no statistics: they would be those of a part.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/io/vfs.h"
#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// Row-major.
struct Matrix {
  int64_t rows = 0, columns = 0;
  std::vector<float> values;

  Matrix() = default;
  Matrix(int64_t row_count, int64_t column_count)
      : rows(row_count), columns(column_count), values(row_count * column_count) {}
  [[nodiscard]] const float* row(int64_t i) const { return values.data() + i * columns; }
  [[nodiscard]] float* row(int64_t i) { return values.data() + i * columns; }
  [[nodiscard]] ConstView view() const { return {values.data(), {rows, columns}, DType::kF32}; }
};

using Labels = std::vector<int64_t>;

struct LabelledFeatures {
  Matrix x;
  Labels labels;
};

// Mean and biased variance of each column.
struct FeatureStats {
  std::vector<double> mean, variance;
};
FeatureStats feature_stats(const CpuExec& ex, const Matrix& x);

// The rows of `x` and `labels` at `indices`.
LabelledFeatures rows_at(const Matrix& x, const Labels& labels, std::span<const int64_t> indices);

// The paper's BN+CReLU, (N, D) -> (N, 2 D): [relu(h), relu(-h)] with
// h = (x - mean) / sqrt(variance + eps). `stats` are those of the training images' features, fixed
// before any probe.
Matrix bn_crelu(const CpuExec& ex, const Matrix& x, const FeatureStats& stats, double eps);

// x := (x - mean) / sqrt(variance); a column that does not vary becomes 0.
void standardize(const CpuExec& ex, Matrix& x, const FeatureStats& stats);

// An f32 or f64 matrix from an .npy file. Throws Error{kNoInput}, or Error{kBadData} for another
// shape or for values that are not finite.
Matrix read_matrix(Vfs& vfs, const Vfs::Path& path);
void write_matrix(Vfs& vfs, const Vfs::Path& path, const Matrix& x);
void write_stats(Vfs& vfs, const Vfs::Path& path, const FeatureStats& stats);
// feature_stats.npy of a folder, or the statistics of the shards of avepool_feat in it; throws
// Error{kBadData} unless they are of `columns` features.
FeatureStats read_stats(const CpuExec& ex, Vfs& vfs, const Vfs::Path& folder, int64_t columns);
// features.npy and labels.npy of a folder; all shards in order where it holds shards.
LabelledFeatures read_features(Vfs& vfs, const Vfs::Path& folder);

}  // namespace bigbigan
