// Attention of bf16 on the tensor cores. Each of a block's four warps owns 16 rows of the block's
// tile. Scores stay in registers: the sums of one product, weighted and rounded to bf16, are the
// first operand of the next (Note [Fragments]; sums of two 16x8 products are laid out as one 16x16
// operand). Sums are f32. attention.cu has the same for f32, in plain arithmetic.
#pragma once

#include "kernels/attention/attention_args.cuh"
#include "kernels/common/ptx.cuh"

namespace bigbigan {

inline constexpr int kWarpRows = 16;
inline constexpr int kBf16Threads = kTile / kWarpRows * kWarp;

// From row to row of a tile in shared memory, in elements: rows are whole packs, and the packs of
// neighbouring rows lie in different banks.
__host__ __device__ constexpr int bf16_stride(int columns) { return columns + 8; }

// Bytes of `tiles` tiles, whose strides add up to `strides`, and of two statistics per row.
inline size_t bf16_shared_bytes(int strides) {
  return kTile * (sizeof(bf16) * strides + 2 * sizeof(float));
}

// --- tiles ---

// W neighbouring elements as one word.
template <int W>
using WordOf = std::conditional_t<W == 8, uint4, std::conditional_t<W == 4, uint2, uint16_t>>;

// Rows of `channels` elements to a tile; zeros beyond the last row and channel.
template <int kColumns, class Access>
__device__ inline void load_rows(const bf16* from, int rows, int channels, const Access& access,
                                 bf16* tile) {
  access([&]<int W>(Width<W>) {
    constexpr int across = kColumns / W;
#pragma unroll(W == 1 ? 1 : W / 2)  // accesses under way per thread
    for (int i = static_cast<int>(threadIdx.x); i < kTile * across; i += kBf16Threads) {
      const int row = i / across, column = i % across * W;
      WordOf<W> word = {};
      if (row < rows && column < channels) {
        word = *reinterpret_cast<const WordOf<W>*>(from + int64_t{row} * channels + column);
      }
      *reinterpret_cast<WordOf<W>*>(tile + row * bf16_stride(kColumns) + column) = word;
    }
  });
}

// The rows of a tile to `to`.
template <int kColumns, class Access>
__device__ inline void store_rows(const bf16* tile, int rows, int channels, const Access& access,
                                  bf16* to) {
  access([&]<int W>(Width<W>) {
    constexpr int across = kColumns / W;
    for (int i = static_cast<int>(threadIdx.x); i < rows * across; i += kBf16Threads) {
      const int row = i / across, column = i % across * W;
      if (column >= channels) continue;
      *reinterpret_cast<WordOf<W>*>(to + int64_t{row} * channels + column) =
          *reinterpret_cast<const WordOf<W>*>(tile + row * bf16_stride(kColumns) + column);
    }
  });
}

// --- fragments ---

__device__ inline int lane_row() { return static_cast<int>(threadIdx.x) % kWarp / 4; }
__device__ inline int lane_column() { return static_cast<int>(threadIdx.x) % 4 * 2; }
// First of the warp's own rows.
__device__ inline int warp_row() { return static_cast<int>(threadIdx.x) / kWarp * kWarpRows; }

// sums += A B^T: A (16, 16) a fragment, B the 16 rows and 16 columns of a tile from `rows` on. Sums
// of the first eight rows of B, then of the others.
__device__ inline void add_product(const uint32_t (&a)[4], const bf16* rows, int stride,
                                   float (&sums)[2][4]) {
  uint32_t b[4];
  load_16x16<false>(rows, stride, b);
  mma_m16n8k16(sums[0], a, {b[0], b[2]});
  mma_m16n8k16(sums[1], a, {b[1], b[3]});
}

// sums += A B: A (16, 16) a fragment of weights, B 16 rows of a tile and all its columns.
template <int kColumns>
__device__ inline void accumulate_rows(const uint32_t (&a)[4], const bf16* rows,
                                       float (&sums)[kColumns / 8][4]) {
#pragma unroll
  for (int j = 0; j < kColumns / 8; j += 2) {
    uint32_t b[4];
    load_16x16<true>(rows + j * 8, bf16_stride(kColumns), b);
    mma_m16n8k16(sums[j], a, {b[0], b[1]});
    mma_m16n8k16(sums[j + 1], a, {b[2], b[3]});
  }
}

// The sums of two products side by side as a first operand.
__device__ inline void operand_of(const float (&sums)[2][4], uint32_t (&a)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    a[i] = round_to_bf16x2(sums[i / 2][i % 2 * 2], sums[i / 2][i % 2 * 2 + 1]);
  }
}

// The warp's own rows of a tile as first operands, 16 columns each: held, or where that takes too
// many registers, read anew.
template <int kColumns>
struct OwnRows {
  static constexpr bool kHeld = kColumns <= 96;
  static constexpr int kOperands = kColumns / 16;
  const bf16* rows;
  uint32_t held[kHeld ? kOperands : 1][4];

  __device__ explicit OwnRows(const bf16* tile) : rows(tile + warp_row() * bf16_stride(kColumns)) {
    if constexpr (kHeld) {
#pragma unroll
      for (int k = 0; k < kOperands; ++k) read(k, held[k]);
    }
  }
  __device__ void read(int k, uint32_t (&words)[4]) const {
    load_16x16<false>(rows + k * 16, bf16_stride(kColumns), words);
  }
  // Products with 16 rows of another tile.
  __device__ void times(const bf16* others, float (&sums)[2][4]) const {
#pragma unroll
    for (int k = 0; k < kOperands; ++k) {
      if constexpr (kHeld) {
        add_product(held[k], others + k * 16, bf16_stride(kColumns), sums);
      } else {
        uint32_t words[4];
        read(k, words);
        add_product(words, others + k * 16, bf16_stride(kColumns), sums);
      }
    }
  }
};

// combine() over the four lanes that hold a row.
template <class Combine>
__device__ inline float reduce_row(float value, const Combine& combine) {
  value = combine(value, exchange(value, 1));
  return combine(value, exchange(value, 2));
}

// The warps' sums, rounded once, to the rows of `to`, or added to what is there; by way of a tile
// that nobody needs any more.
template <int kColumns, class Access>
__device__ inline void store_sums(const float (&sums)[kColumns / 8][4], int rows, int channels,
                                  const Access& access, bool accumulate, bf16* tile, bf16* to) {
  __syncthreads();  // the tile may still be being read
  if (accumulate) {
    load_rows<kColumns>(to, rows, channels, access, tile);
    __syncthreads();
  }
  bf16* own = tile + (warp_row() + lane_row()) * bf16_stride(kColumns) + lane_column();
#pragma unroll
  for (int j = 0; j < kColumns / 8; ++j) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      auto* word = reinterpret_cast<uint32_t*>(own + half * 8 * bf16_stride(kColumns) + j * 8);
      float before[2] = {};
      const uint32_t words[1] = {*word};
      if (accumulate) floats_of_words<bf16>(words, before);
      *word = round_to_bf16x2(sums[j][2 * half] + before[0], sums[j][2 * half + 1] + before[1]);
    }
  }
  __syncthreads();
  store_rows<kColumns>(tile, rows, channels, access, to);
}

// --- kernels; kDepth and kWidth: channels of the tiles, multiples of 16 ---

// y by online softmax: sums relative to the running maximum.
template <int kDepth, int kWidth>
__global__ void __launch_bounds__(kBf16Threads)
    forward_bf16_kernel(const AttentionTensors<bf16> t) {
  GPU_DYNAMIC_SHARED(bf16, query);
  bf16* key = query + kTile * bf16_stride(kDepth);
  bf16* value = key + kTile * bf16_stride(kDepth);
  const Tile own = own_tile(t.queries);
  const int64_t first_query = own.n * t.queries + own.first;
  load_rows<kDepth>(t.query + first_query * t.depth, own.count, t.depth, t.depth_access, query);
  __syncthreads();
  const OwnRows<kDepth> own_query(query);
  float sums[kWidth / 8][4] = {}, maximum[2] = {-INFINITY, -INFINITY}, total[2] = {};
  for (int k0 = 0; k0 < t.keys; k0 += kTile) {
    const int64_t first = own.n * t.keys + k0;
    const int count = min(kTile, t.keys - k0);
    __syncthreads();  // the last tiles are still being read
    load_rows<kDepth>(t.key + first * t.depth, count, t.depth, t.depth_access, key);
    load_rows<kWidth>(t.value + first * t.width, count, t.width, t.width_access, value);
    __syncthreads();
    float scores[kTile / 16][2][4] = {};
    float most[2] = {maximum[0], maximum[1]};
#pragma unroll
    for (int j = 0; j < kTile / 16; ++j) {
      own_query.times(key + j * 16 * bf16_stride(kDepth), scores[j]);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        float& score = scores[j][i / 4][i % 4];
        if (j * 16 + i / 4 * 8 + lane_column() + i % 2 >= count) score = -INFINITY;
        most[i / 2 % 2] = fmaxf(most[i / 2 % 2], score);
      }
    }
    float shrink[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      most[r] = reduce_row(most[r], Larger{});
      shrink[r] = __expf(maximum[r] - most[r]);
      maximum[r] = most[r];
      total[r] *= shrink[r];
    }
#pragma unroll
    for (auto& block : sums) {
#pragma unroll
      for (int i = 0; i < 4; ++i) block[i] *= shrink[i / 2];
    }
#pragma unroll
    for (int j = 0; j < kTile / 16; ++j) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        float& score = scores[j][i / 4][i % 4];
        score = __expf(score - maximum[i / 2 % 2]);
        total[i / 2 % 2] += score;
      }
      uint32_t weights[4];
      operand_of(scores[j], weights);
      accumulate_rows<kWidth>(weights, value + j * 16 * bf16_stride(kWidth), sums);
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    total[r] = reduce_row(total[r], Add{});
#pragma unroll
    for (auto& block : sums) {
      block[2 * r] /= total[r];
      block[2 * r + 1] /= total[r];
    }
    const int row = warp_row() + lane_row() + r * 8;
    if (lane_column() == 0 && row < own.count) {
      t.log_sum_out[first_query + row] = maximum[r] + logf(total[r]);
    }
  }
  store_sums<kWidth>(sums, own.count, t.width, t.width_access, false, value,
                     t.out + first_query * t.width);
}

// d_query of a tile of queries, over all keys.
template <int kDepth, int kWidth>
__global__ void __launch_bounds__(kBf16Threads)
    backward_query_bf16_kernel(const AttentionTensors<bf16> t) {
  GPU_DYNAMIC_SHARED(bf16, query);
  bf16* key = query + kTile * bf16_stride(kDepth);
  bf16* d_y = key + kTile * bf16_stride(kDepth);
  bf16* value = d_y + kTile * bf16_stride(kWidth);
  auto* log_sums = reinterpret_cast<float*>(value + kTile * bf16_stride(kWidth));
  float* deltas = log_sums + kTile;
  const Tile own = own_tile(t.queries);
  const int64_t first_query = own.n * t.queries + own.first;
  load_rows<kDepth>(t.query + first_query * t.depth, own.count, t.depth, t.depth_access, query);
  load_rows<kWidth>(t.d_y + first_query * t.width, own.count, t.width, t.width_access, d_y);
  __syncthreads();
  query_statistics<kBf16Threads>(t, first_query, own.count, d_y, bf16_stride(kWidth), log_sums,
                                 deltas);
  __syncthreads();
  float log_sum[2], delta[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    log_sum[r] = log_sums[warp_row() + lane_row() + r * 8];
    delta[r] = deltas[warp_row() + lane_row() + r * 8];
  }
  const OwnRows<kDepth> own_query(query);
  const OwnRows<kWidth> own_d_y(d_y);
  float sums[kDepth / 8][4] = {};
  for (int k0 = 0; k0 < t.keys; k0 += kTile) {
    const int64_t first = own.n * t.keys + k0;
    const int count = min(kTile, t.keys - k0);
    __syncthreads();  // the last tiles are still being read
    load_rows<kDepth>(t.key + first * t.depth, count, t.depth, t.depth_access, key);
    load_rows<kWidth>(t.value + first * t.width, count, t.width, t.width_access, value);
    __syncthreads();
#pragma unroll 1  // registers
    for (int j = 0; j < kTile; j += 16) {
      float scores[2][4] = {}, d_weights[2][4] = {};
      own_query.times(key + j * bf16_stride(kDepth), scores);
      own_d_y.times(value + j * bf16_stride(kWidth), d_weights);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        float& score = scores[i / 4][i % 4];
        const int r = i / 2 % 2;
        const bool inside = j + i / 4 * 8 + lane_column() + i % 2 < count;
        score = inside ? __expf(score - log_sum[r]) * (d_weights[i / 4][i % 4] - delta[r]) : 0.0f;
      }
      uint32_t d_scores[4];
      operand_of(scores, d_scores);
      accumulate_rows<kDepth>(d_scores, key + j * bf16_stride(kDepth), sums);
    }
  }
  store_sums<kDepth>(sums, own.count, t.depth, t.depth_access, t.accumulate_query, query,
                     t.d_query + first_query * t.depth);
}

// d_key and d_value of a tile of keys, over all queries.
template <int kDepth, int kWidth>
__global__ void __launch_bounds__(kBf16Threads)
    backward_key_bf16_kernel(const AttentionTensors<bf16> t) {
  GPU_DYNAMIC_SHARED(bf16, key);
  bf16* query = key + kTile * bf16_stride(kDepth);
  bf16* value = query + kTile * bf16_stride(kDepth);
  bf16* d_y = value + kTile * bf16_stride(kWidth);
  auto* log_sums = reinterpret_cast<float*>(d_y + kTile * bf16_stride(kWidth));
  float* deltas = log_sums + kTile;
  const Tile own = own_tile(t.keys);
  const int64_t first_key = own.n * t.keys + own.first;
  load_rows<kDepth>(t.key + first_key * t.depth, own.count, t.depth, t.depth_access, key);
  load_rows<kWidth>(t.value + first_key * t.width, own.count, t.width, t.width_access, value);
  __syncthreads();
  const OwnRows<kDepth> own_key(key);
  const OwnRows<kWidth> own_value(value);
  float d_key[kDepth / 8][4] = {}, d_value[kWidth / 8][4] = {};
  for (int q0 = 0; q0 < t.queries; q0 += kTile) {
    const int64_t first = own.n * t.queries + q0;
    const int count = min(kTile, t.queries - q0);
    __syncthreads();  // the last tiles are still being read
    load_rows<kDepth>(t.query + first * t.depth, count, t.depth, t.depth_access, query);
    load_rows<kWidth>(t.d_y + first * t.width, count, t.width, t.width_access, d_y);
    __syncthreads();
    query_statistics<kBf16Threads>(t, first, count, d_y, bf16_stride(kWidth), log_sums, deltas);
    __syncthreads();
#pragma unroll 1  // registers
    for (int j = 0; j < kTile; j += 16) {
      float weights[2][4] = {}, d_scores[2][4] = {};
      own_key.times(query + j * bf16_stride(kDepth), weights);
      own_value.times(d_y + j * bf16_stride(kWidth), d_scores);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const int q = j + i / 4 * 8 + lane_column() + i % 2;
        float &weight = weights[i / 4][i % 4], &d_score = d_scores[i / 4][i % 4];
        weight = __expf(weight - log_sums[q]);
        d_score = weight * (d_score - deltas[q]);
      }
      uint32_t operand[4];
      operand_of(weights, operand);
      accumulate_rows<kWidth>(operand, d_y + j * bf16_stride(kWidth), d_value);
      operand_of(d_scores, operand);
      accumulate_rows<kDepth>(operand, query + j * bf16_stride(kDepth), d_key);
    }
  }
  if (t.d_key != nullptr) {
    store_sums<kDepth>(d_key, own.count, t.depth, t.depth_access, t.accumulate_key, key,
                       t.d_key + first_key * t.depth);
  }
  if (t.d_value != nullptr) {
    store_sums<kWidth>(d_value, own.count, t.width, t.width_access, t.accumulate_value, value,
                       t.d_value + first_key * t.width);
  }
}

}  // namespace bigbigan
