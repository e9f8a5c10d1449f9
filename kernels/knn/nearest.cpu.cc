#include <algorithm>
#include <limits>

#include "kernels/knn/nearest_shapes.h"

namespace bigbigan {
namespace {

constexpr int64_t kQueriesPerChunk = 16;

// One query's list.
struct List {
  float* distances;
  int32_t* rows;
  int64_t k;

  void clear() const {
    std::fill_n(distances, k, std::numeric_limits<float>::infinity());
    std::fill_n(rows, k, -1);
  }
  // In front of the last: rows are offered in ascending order, so a later one at an equal distance
  // is behind.
  void insert(float distance, int32_t row) const {
    const int64_t place = std::upper_bound(distances, distances + k, distance) - distances;
    std::copy_backward(distances + place, distances + k - 1, distances + k);
    std::copy_backward(rows + place, rows + k - 1, rows + k);
    distances[place] = distance;
    rows[place] = row;
  }
};

}  // namespace

void update_nearest(const CpuExec& ex, const NearestArgs& a) {
  const Observed observed(ex);
  check_nearest(a);
  const int64_t references = a.scores.shape[1], k = a.distances.shape[1];
  const float* offsets = a.offsets ? a.offsets.as<float>() : nullptr;
  ex.for_range(a.scores.shape[0], kQueriesPerChunk, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* scores = a.scores.as<float>() + i * references;
      const List list{a.distances.as<float>() + i * k, a.rows.as<int32_t>() + i * k, k};
      if (a.first == 0) list.clear();
      float worst = list.distances[k - 1];
      for (int64_t j = 0; j < references; ++j) {
        const float distance = (offsets != nullptr ? offsets[j] : 0) + a.factor * scores[j];
        if (!(distance < worst)) continue;
        list.insert(distance, static_cast<int32_t>(a.first + j));
        worst = list.distances[k - 1];
      }
    }
  });
}

}  // namespace bigbigan
