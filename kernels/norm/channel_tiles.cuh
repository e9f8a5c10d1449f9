// How a block covers rows of channels: threads (x, y), x across a tile of channels, one pack each,
// and y down the rows, so that a warp reads neighbouring addresses whatever C is.
#pragma once

#include <algorithm>

#include "kernels/common/pack.cuh"

namespace bigbigan {

struct ChannelTiles {
  int64_t tiles = 1;   // blocks across the channels: the grid's y
  int64_t across = 1;  // threads across a tile: the block's x
  int64_t down = 1;    // rows of threads: the block's y
  [[nodiscard]] Extent block() const { return {across, down}; }
};

// Tiles of at most `most` packs, a warp's, as even as they come; none without channels. At most
// `threads` threads, and no more rows of threads than there are `rows`.
template <int W>
ChannelTiles channel_tiles(int64_t channels, int64_t rows, int64_t threads, int64_t most = kWarp) {
  if (channels == 0) return {.tiles = 0};
  const int64_t packs = blocks_for(channels, W);
  const int64_t tiles = blocks_for(packs, most), across = blocks_for(packs, tiles);
  return {tiles, across, std::clamp<int64_t>(rows, 1, threads / across)};
}

// The first channel of the calling thread; the last tile may reach beyond the last channel.
template <int W>
__device__ inline int first_channel() {
  return static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * W;
}

// combine(mine, other) over the threads of equal x, a tree of fixed shape: the thread with y = 0
// ends up with the result. Once per kernel and type: the scratch is not protected against a second
// call. All threads of the block take part.
template <int kThreads, int N, class V, class Combine>
__device__ inline void combine_down(V (&mine)[N], const Combine& combine) {
  GPU_SHARED(V, scratch, [N][kThreads]);
  const int across = static_cast<int>(blockDim.x), y = static_cast<int>(threadIdx.y);
  const int thread = y * across + static_cast<int>(threadIdx.x);
  for (int span = static_cast<int>(blockDim.y); span > 1;) {
    const int half = (span + 1) / 2;
    if (y >= half && y < span) {
#pragma unroll
      for (int k = 0; k < N; ++k) scratch[k][thread] = mine[k];
    }
    __syncthreads();  // one per level is enough: a slot is written once
    if (y + half < span) {
      V other[N];
#pragma unroll
      for (int k = 0; k < N; ++k) other[k] = scratch[k][thread + half * across];
      combine(mine, other);
    }
    span = half;
  }
}

template <int kThreads, int N, class V>
__device__ inline void sum_down(V (&values)[N]) {
  combine_down<kThreads>(values, [](V(&mine)[N], const V(&other)[N]) {
#pragma unroll
    for (int k = 0; k < N; ++k) mine[k] += other[k];
  });
}

// A block that adds up long columns of f64, where each column is a channel.
inline constexpr int kColumnsAcross = 8;  // 64 bytes: whole sectors, and blocks enough for C = 96
inline constexpr int kColumnsDown = 32;
inline constexpr int kColumnBlock = kColumnsAcross * kColumnsDown;

}  // namespace bigbigan
