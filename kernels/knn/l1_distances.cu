#include <cmath>

#include "kernels/common/pack.cuh"
#include "kernels/knn/l1_distances_shapes.h"

namespace bigbigan {
namespace {

constexpr int kTile = 64;      // queries, and references, of a block
constexpr int kChunk = 32;     // columns at a time
constexpr int kPerThread = 4;  // a thread's queries, and references: 16 sums for 2 shared loads
constexpr int kThreadsPerSide = kTile / kPerThread;
constexpr int kThreads = kThreadsPerSide * kThreadsPerSide;
constexpr int kStride = kTile + kPackElems<float>;  // packs stay whole, and banks move on

// tile (column, row) := rows from `first` of x (rows, columns), zeros outside.
__device__ inline void load_tile(const float* __restrict__ x, int64_t rows, int64_t columns,
                                 int64_t first, int64_t column, float (&tile)[kChunk][kStride]) {
  for (int i = static_cast<int>(threadIdx.x); i < kTile * kChunk; i += kThreads) {
    const int row = i / kChunk, c = i % kChunk;
    const bool inside = first + row < rows && column + c < columns;
    tile[c][row] = inside ? x[(first + row) * columns + column + c] : 0;
  }
}

__global__ void __launch_bounds__(kThreads)
    l1_distances_kernel(const float* __restrict__ queries, const float* __restrict__ references,
                        int64_t query_rows, int64_t reference_rows, int64_t columns,
                        float* distances) {
  GPU_SHARED(float, query_tile, [kChunk][kStride]);
  GPU_SHARED(float, reference_tile, [kChunk][kStride]);
  const int64_t first_query = int64_t{blockIdx.y} * kTile;
  const int64_t first_reference = int64_t{blockIdx.x} * kTile;
  const int query = static_cast<int>(threadIdx.x) / kThreadsPerSide * kPerThread;
  const int reference = static_cast<int>(threadIdx.x) % kThreadsPerSide * kPerThread;
  float sums[kPerThread][kPerThread] = {};
  for (int64_t column = 0; column < columns; column += kChunk) {
    __syncthreads();  // all are done with the last tiles
    load_tile(queries, query_rows, columns, first_query, column, query_tile);
    load_tile(references, reference_rows, columns, first_reference, column, reference_tile);
    __syncthreads();
#pragma unroll 8
    for (int c = 0; c < kChunk; ++c) {
      float q[kPerThread], r[kPerThread];
      load(&query_tile[c][query], q);
      load(&reference_tile[c][reference], r);
#pragma unroll
      for (int i = 0; i < kPerThread; ++i) {
#pragma unroll
        for (int j = 0; j < kPerThread; ++j) sums[i][j] += fabsf(r[j] - q[i]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
#pragma unroll
    for (int j = 0; j < kPerThread; ++j) {
      const int64_t at_query = first_query + query + i;
      const int64_t at_reference = first_reference + reference + j;
      if (at_query < query_rows && at_reference < reference_rows)
        distances[at_query * reference_rows + at_reference] = sums[i][j];
    }
  }
}

}  // namespace

int64_t l1_distances_scratch_elems(const CudaExec&, int64_t, int64_t) { return 0; }

void l1_distances(const CudaExec& ex, ConstView queries, ConstView references, View distances,
                  View) {
  const Observed observed(ex);
  check_l1_distances(queries, references, distances);
  const int64_t rows = queries.shape[0], reference_rows = references.shape[0];
  launch(l1_distances_kernel, Extent(blocks_for(reference_rows, kTile), blocks_for(rows, kTile)),
         kThreads, 0, ex.stream, queries.as<float>(), references.as<float>(), rows, reference_rows,
         queries.shape[1], distances.as<float>());
}

}  // namespace bigbigan
