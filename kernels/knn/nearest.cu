#include <cmath>

#include "kernels/common/width.cuh"
#include "kernels/knn/nearest_shapes.h"

namespace bigbigan {
namespace {

// A warp per query: it reads the scores once; few of them are nearer than the k nearest so far.
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kBuffer = 2 * kWarp;  // candidates that wait: a warp's finds fit behind a warp's
constexpr int kSlots = kMaxNeighbours + kBuffer;

// A distance and a reference's number, so that keys compare as pairs of both do. Those of
// references differ.
using Key = uint64_t;
constexpr uint32_t kSign = 0x80000000;
constexpr Key kNone = 0xff800000ffffffff;  // infinity, -1: behind all others

__device__ inline Key key_of(float distance, int32_t row) {
  const uint32_t bits = __float_as_uint(distance + 0.0f);  // -0 is 0
  const uint32_t ordered = (bits & kSign) != 0 ? ~bits : bits | kSign;
  return static_cast<Key>(ordered) << 32 | static_cast<uint32_t>(row);
}
__device__ inline float distance_of(Key key) {
  const auto ordered = static_cast<uint32_t>(key >> 32);
  return __uint_as_float((ordered & kSign) != 0 ? ordered ^ kSign : ~ordered);
}

__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x) % kWarp; }

// keys: the nearest so far in order, then `count` candidates. Leaves the k first of all in order.
__device__ inline void merge_candidates(Key* keys, int count, int k) {
  constexpr int kPerLane = kSlots / kWarp;
  const int lane = lane_of_warp(), n = kMaxNeighbours + count;
  Key mine[kPerLane];
  int rank[kPerLane] = {};
  __syncwarp();  // the candidates are written
#pragma unroll
  for (int e = 0; e < kPerLane; ++e) {
    mine[e] = lane + e * kWarp < n ? keys[lane + e * kWarp] : kNone;
  }
  for (int other = 0; other < n; ++other) {
    const Key key = keys[other];
#pragma unroll
    for (int e = 0; e < kPerLane; ++e) {
      rank[e] += key < mine[e] ? 1 : 0;
    }
  }
  __syncwarp();  // all lanes have read
#pragma unroll
  for (int e = 0; e < kPerLane; ++e) {
    if (mine[e] != kNone && rank[e] < k) keys[rank[e]] = mine[e];
  }
  __syncwarp();
}

struct Tile {
  const float* scores;
  const float* offsets;  // or null
  int64_t queries;
  float factor;
  float* distances;
  int32_t* rows;
};

template <int W>
__global__ void update_nearest_kernel(const Tile tile, int32_t references, int32_t first, int k) {
  GPU_SHARED(Key, of_warp, [kWarps][kSlots]);
  const int lane = lane_of_warp();
  const int64_t query = grid_thread() / kWarp;
  if (query >= tile.queries) return;  // the whole warp; no barrier of the block follows
  Key* keys = of_warp[threadIdx.x / kWarp];
  const float* scores = tile.scores + query * references;
  float* distances = tile.distances + query * k;
  int32_t* rows = tile.rows + query * k;
  for (int slot = lane; slot < kMaxNeighbours; slot += kWarp) {
    keys[slot] = first > 0 && slot < k ? key_of(distances[slot], rows[slot]) : kNone;
  }
  __syncwarp();
  Key worst = keys[k - 1];
  int count = 0;
  for (int32_t begin = 0; begin < references; begin += kWarp * W) {
    const int32_t i = begin + lane * W;
    float score[W] = {}, offset[W] = {};
    if (i < references) load(scores + i, score);
    if (i < references && tile.offsets != nullptr) load(tile.offsets + i, offset);
#pragma unroll
    for (int e = 0; e < W; ++e) {
      const float distance = fmaf(tile.factor, score[e], offset[e]);
      const Key key = key_of(distance, first + i + e);
      const bool nearer = i < references && distance < INFINITY && key < worst;
      const unsigned mask = __ballot_sync(kFullMask, nearer ? 1 : 0);
      if (mask == 0) continue;
      if (nearer) keys[kMaxNeighbours + count + __popc(mask & ((1u << lane) - 1))] = key;
      count += __popc(mask);
      if (count <= kBuffer - kWarp) continue;
      merge_candidates(keys, count, k);
      count = 0;
      worst = keys[k - 1];
    }
  }
  merge_candidates(keys, count, k);
  for (int slot = lane; slot < k; slot += kWarp) {
    distances[slot] = distance_of(keys[slot]);
    rows[slot] = static_cast<int32_t>(keys[slot]);
  }
}

}  // namespace

void update_nearest(const CudaExec& ex, const NearestArgs& a) {
  const Observed observed(ex);
  check_nearest(a);
  const int64_t queries = a.scores.shape[0], references = a.scores.shape[1];
  const int64_t k = a.distances.shape[1];
  check(k <= kMaxNeighbours, "update_nearest: k is {}, at most {} on CUDA", k, kMaxNeighbours);
  const Tile tile{.scores = a.scores.as<float>(),
                  .offsets = a.offsets ? a.offsets.as<float>() : nullptr,
                  .queries = queries,
                  .factor = a.factor,
                  .distances = a.distances.as<float>(),
                  .rows = a.rows.as<int32_t>()};
  dispatch_width<float>(references, all_aligned(tile.scores, tile.offsets), [&]<int W>(Width<W>) {
    launch(update_nearest_kernel<W>, blocks_for(queries, kWarps), kThreads, 0, ex.stream, tile,
           references, a.first, k);
  });
}

}  // namespace bigbigan
