// Tiles of 64 rows in shared memory, and the products between them that attention is made of. A
// block owns one tile and streams others past it; its 256 threads are 16 x 16: a thread owns four
// rows, and every 16th column.
//
// products() and accumulate() are f32 FMA on shared memory: tensor cores would round the operands.
// attention_bf16.cuh is for bf16.
#pragma once

#include "kernels/attention/attention_args.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/width.cuh"

namespace bigbigan {

inline constexpr int kAcross = 16;            // threads across the columns, half a warp
inline constexpr int kThreads = 256;          // 16 x 16
inline constexpr int kOwn = kTile / kAcross;  // rows of a thread, and columns of scores: 4 x 4
// From row to row, in floats. Packs stay aligned, and the 16-byte words of neighbouring rows lie in
// different banks.
__host__ __device__ constexpr int stride_of(int columns) { return columns + 4; }
inline constexpr int kScoreStride = stride_of(kTile);

__device__ inline int thread_row() { return static_cast<int>(threadIdx.x) / kAcross * kOwn; }
__device__ inline int thread_column() { return static_cast<int>(threadIdx.x) % kAcross; }

// Calls body(Width<W>, row, column) for a tile of kColumns columns, W of them at a time.
template <int kColumns, class Access, class Body>
__device__ inline void for_tile(const Access& access, const Body& body) {
  access([&]<int W>(Width<W> width) {
    constexpr int across = kColumns / W;
#pragma unroll 2  // two accesses in flight per thread
    for (int i = static_cast<int>(threadIdx.x); i < kTile * across; i += kThreads) {
      body(width, i / across, i % across * W);
    }
  });
}

// Rows of `channels` elements to a tile; zeros beyond the last row and channel.
template <int kColumns, class T, class Access>
__device__ inline void load_tile(const T* from, int rows, int channels, const Access& access,
                                 float* tile) {
  for_tile<kColumns>(access, [&]<int W>(Width<W>, int row, int column) {
    float v[W] = {};
    if (row < rows && column < channels) load(from + int64_t{row} * channels + column, v);
    store(tile + row * stride_of(kColumns) + column, v);
  });
}

// The rows of a tile to `to`, or added to what is there.
template <int kColumns, class T, class Access>
__device__ inline void store_tile(const float* tile, int rows, int channels, const Access& access,
                                  bool accumulate, T* to) {
  for_tile<kColumns>(access, [&]<int W>(Width<W>, int row, int column) {
    if (row >= rows || column >= channels) return;
    float v[W], before[W] = {};
    load(tile + row * stride_of(kColumns) + column, v);
    if (accumulate) load(to + int64_t{row} * channels + column, before);
#pragma unroll
    for (int k = 0; k < W; ++k) v[k] += before[k];
    store(to + int64_t{row} * channels + column, v);
  });
}

// The sums of a thread to its rows and columns of a tile.
template <int N>
__device__ inline void stage(const float (&sums)[kOwn][N], float* tile) {
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
#pragma unroll
    for (int j = 0; j < N; ++j) {
      tile[(thread_row() + i) * stride_of(N * kAcross) + thread_column() + j * kAcross] =
          sums[i][j];
    }
  }
}

// out[i][j] = <own row thread_row() + i, streamed row thread_column() + 16 j>
template <int kColumns>
__device__ inline void products(const float* own, const float* streamed, int channels,
                                float (&out)[kOwn][kOwn]) {
  constexpr int stride = stride_of(kColumns);
#pragma unroll
  for (auto& row : out) {
    for (float& value : row) value = 0;
  }
  for (int c = 0; c < channels; c += 4) {  // the tiles hold zeros behind the last channel
    float a[kOwn][4], b[4];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) load(own + (thread_row() + i) * stride + c, a[i]);
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      load(streamed + (thread_column() + j * kAcross) * stride + c, b);
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
#pragma unroll
        for (int k = 0; k < 4; ++k) out[i][j] += a[i][k] * b[k];
      }
    }
  }
}

// The thread's scores to a tile that is read along the streamed rows: [streamed][own].
__device__ inline void put_scores(const float (&scores)[kOwn][kOwn], float* tile) {
#pragma unroll
  for (int j = 0; j < kOwn; ++j) {
    float column[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) column[i] = scores[i][j];
    store(tile + (thread_column() + j * kAcross) * kScoreStride + thread_row(), column);
  }
}

// sums[i][j] += sum over streamed rows r of scores[r][own row i] streamed[r][column j]. The scores
// of a thread's rows are those of its half of the warp: __syncwarp() stands between.
template <int N>
__device__ inline void accumulate(const float* scores, const float* streamed,
                                  float (&sums)[kOwn][N]) {
#pragma unroll 4
  for (int r = 0; r < kTile; ++r) {
    float weight[kOwn];
    load(scores + r * kScoreStride + thread_row(), weight);
#pragma unroll
    for (int j = 0; j < N; ++j) {
      const float value = streamed[r * stride_of(N * kAcross) + thread_column() + j * kAcross];
#pragma unroll
      for (int i = 0; i < kOwn; ++i) sums[i][j] += weight[i] * value;
    }
  }
}

// combine() over the threads that own the same rows; it is commutative, so all get the same bits.
template <class Combine>
__device__ inline float reduce_across(float value, const Combine& combine) {
#pragma unroll
  for (int distance = kAcross / 2; distance > 0; distance /= 2) {
    value = combine(value, exchange(value, distance));
  }
  return value;
}

}  // namespace bigbigan
