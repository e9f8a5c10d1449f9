// The nearest of many references to each query, found tile by tile; f32.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// The references of one tile, and each query's nearest ones of all tiles so far. Its distance to
// reference j of the tile is offset_j + factor score_j: with scores <q, r> and offsets |r|^2 the
// factor -2 gives |q - r|^2 - |q|^2.
struct NearestArgs {
  ConstView scores;   // (Q, R)
  ConstView offsets;  // (R); or empty: 0
  float factor = 1;
  int64_t first = 0;  // number of the tile's first reference; 0 starts the lists anew
  View distances;     // (Q, k), ascending; infinity while there are fewer
  View rows;          // i32 (Q, k): numbers of the references; -1 while there are fewer
};
// CUDA keeps at most so many.
inline constexpr int kMaxNeighbours = 64;
// Merges the tile into the lists, ordered by (distance, number). References that are not at a
// finite distance are left out. Tiles come in ascending order of their numbers.
void update_nearest(const CpuExec& ex, const NearestArgs& args);
void update_nearest(const CudaExec& ex, const NearestArgs& args);

}  // namespace bigbigan
