#include "eval/features.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "engine/io/npy.h"
#include "kernels/norm/batch_norm.h"

namespace bigbigan {
namespace {

constexpr int64_t kRowGrain = 256;

std::string shape_text(const NpyArray& array) {
  return fmt::format("({})", fmt::join(array.shape, ", "));
}

// Calls body(row, out row) for all rows in parallel.
template <class Body>
void for_rows(const CpuExec& ex, int64_t rows, const Body& body) {
  ex.for_range(rows, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

Labels read_labels(Vfs& vfs, const Vfs::Path& path, int64_t rows) {
  const NpyArray array = read_npy(vfs, path);
  if (array.dtype != DType::kI64 || array.shape != std::vector<int64_t>{rows}) {
    fail(ExitCode::kBadData,
         "{}: {} of shape {}, expected i64 of shape ({},), one label for each row of features",
         path.string(), name_of(array.dtype), shape_text(array), rows);
  }
  const auto* values = reinterpret_cast<const int64_t*>(array.data.data());
  return {values, values + rows};
}

void append(LabelledFeatures& all, LabelledFeatures part, const Vfs::Path& path) {
  if (all.x.rows == 0) {
    all = std::move(part);
    return;
  }
  if (part.x.columns != all.x.columns) {
    fail(ExitCode::kBadData, "{}: {} features per row, the shards before it have {}", path.string(),
         part.x.columns, all.x.columns);
  }
  all.x.rows += part.x.rows;
  all.x.values.insert(all.x.values.end(), part.x.values.begin(), part.x.values.end());
  all.labels.insert(all.labels.end(), part.labels.begin(), part.labels.end());
}

LabelledFeatures read_pair(Vfs& vfs, const Vfs::Path& folder, const std::string& suffix) {
  LabelledFeatures part;
  part.x = read_matrix(vfs, folder / ("features" + suffix + ".npy"));
  part.labels = read_labels(vfs, folder / ("labels" + suffix + ".npy"), part.x.rows);
  return part;
}

}  // namespace

FeatureStats feature_stats(const CpuExec& ex, const Matrix& x) {
  const int64_t d = x.columns;
  std::vector<double> moments(1 + 2 * d), scratch(batch_moments_scratch_elems(x.view().shape));
  batch_moments(ex, x.view(), {moments.data(), {1 + 2 * d}, DType::kF64},
                {scratch.data(), {static_cast<int64_t>(scratch.size())}, DType::kF64});
  FeatureStats stats;
  stats.mean.assign(moments.begin() + 1, moments.begin() + 1 + d);
  for (int64_t i = 0; i < d; ++i)
    stats.variance.push_back(moments[1 + d + i] / std::max(1.0, moments[0]));
  return stats;
}

LabelledFeatures rows_at(const Matrix& x, const Labels& labels, std::span<const int64_t> indices) {
  LabelledFeatures out{Matrix(static_cast<int64_t>(indices.size()), x.columns), {}};
  for (size_t i = 0; i < indices.size(); ++i) {
    std::copy_n(x.row(indices[i]), x.columns, out.x.row(static_cast<int64_t>(i)));
    out.labels.push_back(labels[indices[i]]);
  }
  return out;
}

Matrix bn_crelu(const CpuExec& ex, const Matrix& x, const FeatureStats& stats, double eps) {
  const int64_t d = x.columns;
  check(static_cast<int64_t>(stats.mean.size()) == d, "bn_crelu: statistics of {} features for {}",
        stats.mean.size(), d);
  Matrix out(x.rows, 2 * d);
  for_rows(ex, x.rows, [&](int64_t i) {
    const float* in = x.row(i);
    float* to = out.row(i);
    for (int64_t j = 0; j < d; ++j) {
      const auto h =
          static_cast<float>((in[j] - stats.mean[j]) / std::sqrt(stats.variance[j] + eps));
      to[j] = std::max(h, 0.0f);
      to[d + j] = std::max(-h, 0.0f);
    }
  });
  return out;
}

void standardize(const CpuExec& ex, Matrix& x, const FeatureStats& stats) {
  std::vector<double> scale;
  for (const double v : stats.variance) scale.push_back(v > 0 ? 1 / std::sqrt(v) : 0);
  for_rows(ex, x.rows, [&](int64_t i) {
    float* row = x.row(i);
    for (int64_t j = 0; j < x.columns; ++j)
      row[j] = static_cast<float>((row[j] - stats.mean[j]) * scale[j]);
  });
}

Matrix read_matrix(Vfs& vfs, const Vfs::Path& path) {
  const NpyArray array = read_npy(vfs, path);
  const bool is_real = array.dtype == DType::kF32 || array.dtype == DType::kF64;
  if (array.shape.size() != 2 || !is_real || array.elems() == 0) {
    fail(ExitCode::kBadData, "{}: {} of shape {}, expected f32 or f64 of shape (N, D)",
         path.string(), name_of(array.dtype), shape_text(array));
  }
  Matrix x(array.shape[0], array.shape[1]);
  const std::vector<double> values = array.to_doubles();
  for (size_t i = 0; i < values.size(); ++i) {
    x.values[i] = static_cast<float>(values[i]);
    if (std::isfinite(x.values[i])) continue;
    fail(ExitCode::kBadData, "{}: row {} holds {}, expected finite values", path.string(),
         static_cast<int64_t>(i) / x.columns, values[i]);
  }
  return x;
}

void write_matrix(Vfs& vfs, const Vfs::Path& path, const Matrix& x) {
  const int64_t shape[] = {x.rows, x.columns};
  write_npy(vfs, path, DType::kF32, shape, std::as_bytes(std::span(x.values)));
}

void write_stats(Vfs& vfs, const Vfs::Path& path, const FeatureStats& stats) {
  std::vector<double> values = stats.mean;
  values.insert(values.end(), stats.variance.begin(), stats.variance.end());
  const int64_t shape[] = {2, static_cast<int64_t>(stats.mean.size())};
  write_npy(vfs, path, DType::kF64, shape, std::as_bytes(std::span(values)));
}

FeatureStats read_stats(const CpuExec& ex, Vfs& vfs, const Vfs::Path& folder, int64_t columns) {
  const Vfs::Path path = folder / "feature_stats.npy";
  if (!vfs.exists(path) && vfs.exists(folder / "features_0.npy")) {
    const Matrix x = read_features(vfs, folder).x;
    if (x.columns == columns) return feature_stats(ex, x);
    fail(ExitCode::kBadData, "{}: shards of {} features, expected {}: avepool_feat of this model",
         folder.string(), x.columns, columns);
  }
  const NpyArray array = read_npy(vfs, path);
  if (array.dtype != DType::kF64 || array.shape != std::vector<int64_t>{2, columns}) {
    fail(ExitCode::kBadData,
         "{}: {} of shape {}, expected f64 of shape (2, {}): the statistics of this model's "
         "AvePool features",
         path.string(), name_of(array.dtype), shape_text(array), columns);
  }
  const std::vector<double> values = array.to_doubles();
  return {{values.begin(), values.begin() + columns}, {values.begin() + columns, values.end()}};
}

LabelledFeatures read_features(Vfs& vfs, const Vfs::Path& folder) {
  if (vfs.exists(folder / "features.npy") || !vfs.exists(folder / "features_0.npy"))
    return read_pair(vfs, folder, "");
  LabelledFeatures all;
  for (int64_t i = 0; vfs.exists(folder / fmt::format("features_{}.npy", i)); ++i) {
    append(all, read_pair(vfs, folder, fmt::format("_{}", i)),
           folder / fmt::format("features_{}.npy", i));
  }
  return all;
}

}  // namespace bigbigan
