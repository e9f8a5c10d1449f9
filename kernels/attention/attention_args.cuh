// What the kernels of attention have in common: their arguments, and which rows a block owns.
#pragma once

#include <cstdint>

#include "kernels/common/launch.cuh"

namespace bigbigan {

// Rows of a tile. A block owns one tile and streams others past it.
inline constexpr int kTile = 64;

// The tensors of one call; d_* may be null.
template <class T>
struct AttentionTensors {
  const T *query, *key, *value, *y, *d_y;
  const float* log_sum;  // backward
  T *out, *d_query, *d_key, *d_value;
  float* log_sum_out;  // forward
  int queries, keys, depth, width;
  bool packed_depth, packed_width;  // rows of whole packs
  bool accumulate_query, accumulate_key, accumulate_value;
};

// One tile of a sample: rows [first, first + count) of sample n.
struct Tile {
  int64_t n;
  int first, count;
};

// The tile that the block owns.
__device__ inline Tile own_tile(int rows) {
  const int tiles = (rows + kTile - 1) / kTile;
  const int n = static_cast<int>(blockIdx.x) / tiles;
  const int first = (static_cast<int>(blockIdx.x) - n * tiles) * kTile;
  return {n, first, min(kTile, rows - first)};
}

}  // namespace bigbigan
