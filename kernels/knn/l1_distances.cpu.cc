#include <algorithm>
#include <cstring>

#include "kernels/knn/l1_distances_shapes.h"

namespace bigbigan {
namespace {

constexpr int64_t kQueriesPerChunk = 64;
constexpr int64_t kGroup = 8;  // references side by side in a vector

// Vectors of one number for each row of a group. Spelt out: compilers do not find this form in
// loops.
using Floats = float __attribute__((vector_size(kGroup * sizeof(float))));
using Words = int32_t __attribute__((vector_size(kGroup * sizeof(int32_t))));

int64_t groups_of(int64_t references) { return (references + kGroup - 1) / kGroup; }

// References transposed in groups of kGroup: (groups, columns, kGroup), zeros behind the last row.
void group_rows(const CpuExec& ex, ConstView references, float* groups) {
  const int64_t rows = references.shape[0], columns = references.shape[1];
  const float* from = references.as<float>();
  ex.for_chunks(groups_of(rows), [&](int64_t group) {
    float* out = groups + group * columns * kGroup;
    for (int64_t i = 0; i < kGroup; ++i) {
      const int64_t row = group * kGroup + i;
      for (int64_t j = 0; j < columns; ++j)
        out[j * kGroup + i] = row < rows ? from[row * columns + j] : 0;
    }
  });
}

// Sums of kRows queries to one group of references: the sums stay in registers.
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

}  // namespace

int64_t l1_distances_scratch_elems(const CpuExec&, int64_t references, int64_t columns) {
  return groups_of(references) * kGroup * columns;
}

void l1_distances(const CpuExec& ex, ConstView queries, ConstView references, View distances,
                  View scratch) {
  const Observed observed(ex);
  check_l1_distances(queries, references, distances);
  const int64_t rows = references.shape[0], columns = references.shape[1];
  check(scratch.elems() >= l1_distances_scratch_elems(ex, rows, columns),
        "l1_distances: scratch of {}", scratch.elems());
  auto* groups = scratch.as<float>();
  group_rows(ex, references, groups);
  ex.for_range(queries.shape[0], kQueriesPerChunk, [&](int64_t begin, int64_t end) {
    constexpr int kRows = 8;
    for (int64_t first = 0; first < rows; first += kGroup) {
      const float* group = groups + first * columns;
      const int64_t count = std::min(kGroup, rows - first);
      const auto block = [&]<int R>(int64_t i) {
        l1_block<R>(queries.as<float>() + i * columns, columns, group,
                    distances.as<float>() + i * rows + first, rows, count);
      };
      int64_t i = begin;
      for (; i + kRows <= end; i += kRows) block.template operator()<kRows>(i);
      for (; i < end; ++i) block.template operator()<1>(i);
    }
  });
}

}  // namespace bigbigan
