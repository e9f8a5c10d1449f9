// What the kernels of attention have in common: their arguments, which rows a block owns, and what
// the gradient needs of each query.
#pragma once

#include <cstdint>

#include "kernels/common/reduce.cuh"
#include "kernels/common/width.cuh"

namespace bigbigan {

// Rows of a tile. A block owns one tile and streams others past it.
inline constexpr int kTile = 64;

// How many elements of a row are read at a time: a pack, or one; with kHalves also half a pack of
// bf16. Each possibility is code of its own and takes registers, and values have whole packs of
// channels where keys have halves.
template <class T, bool kHalves>
struct RowAccess {
  int elems;

  // body(Width<elems>)
  template <class Body>
  __device__ void operator()(const Body& body) const {
    if (elems == kPackElems<T>) return body(Width<kPackElems<T>>{});
    if constexpr (kHalves && std::is_same_v<T, bf16>) {
      if (elems == kHalfPack<T>) return body(Width<kHalfPack<T>>{});
    }
    body(Width<1>{});
  }
};
template <class T>
using DepthAccess = RowAccess<T, true>;
template <class T>
using WidthAccess = RowAccess<T, false>;

// The tensors of one call; d_* may be null.
template <class T>
struct AttentionTensors {
  const T *query, *key, *value, *y, *d_y;
  const float* log_sum;  // backward
  T *out, *d_query, *d_key, *d_value;
  float* log_sum_out;  // forward
  int queries, keys, depth, width;
  DepthAccess<T> depth_access;
  WidthAccess<T> width_access;
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

// What the gradient of a query's scores needs: log_sum, and delta = <d_y, y>. `d_y` is the tile of
// the gradient, whose rows are `stride` elements apart. A query beyond the last has log_sum =
// infinity, so that its weights are 0. Called by all kThreads of a block.
template <int kThreads, class T>
__device__ inline void query_statistics(const AttentionTensors<T>& t, int64_t first, int count,
                                        const T* d_y, int stride, float* log_sum, float* delta) {
  constexpr int kParts = kThreads / kTile;  // threads of a row
  const int row = static_cast<int>(threadIdx.x) / kParts;
  const int part = static_cast<int>(threadIdx.x) % kParts;
  float sum = 0;
  t.width_access([&]<int W>(Width<W>) {
    if (row >= count) return;
    for (int c = part * W; c < t.width; c += kParts * W) {
      float y[W], g[W];
      load(t.y + (first + row) * t.width + c, y);
      load(d_y + row * stride + c, g);
#pragma unroll
      for (int k = 0; k < W; ++k) sum += y[k] * g[k];
    }
  });
#pragma unroll
  for (int distance = kParts / 2; distance > 0; distance /= 2) sum += exchange(sum, distance);
  if (part != 0) return;
  delta[row] = sum;
  log_sum[row] = row < count ? t.log_sum[first + row] : INFINITY;
}

}  // namespace bigbigan
