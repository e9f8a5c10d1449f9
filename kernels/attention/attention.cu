#include "kernels/attention/attention.h"

#include <cmath>

#include "kernels/attention/attention_bf16.cuh"
#include "kernels/attention/attention_tiles.cuh"
#include "kernels/common/dispatch.cuh"

namespace bigbigan {
namespace {

// y by online softmax: sums relative to the running maximum. kDepth and kWidth: channels of the
// tiles, multiples of 16.
template <int kDepth, int kWidth>
__global__ void __launch_bounds__(kThreads) forward_kernel(const AttentionTensors<float> t) {
  GPU_DYNAMIC_SHARED(float, query);
  float* key = query + kTile * stride_of(kDepth);
  float* value = key + kTile * stride_of(kDepth);
  float* scores = value + kTile * stride_of(kWidth);
  const Tile own = own_tile(t.queries);
  const int64_t first_query = own.n * t.queries + own.first;
  load_tile<kDepth>(t.query + first_query * t.depth, own.count, t.depth, t.depth_access, query);
  float sums[kOwn][kWidth / kAcross] = {}, maximum[kOwn], total[kOwn];
#pragma unroll
  for (int i = 0; i < kOwn; ++i) maximum[i] = -INFINITY, total[i] = 0;
  for (int k0 = 0; k0 < t.keys; k0 += kTile) {
    const int64_t first = own.n * t.keys + k0;
    const int count = min(kTile, t.keys - k0);
    __syncthreads();  // the last tiles are still being read
    load_tile<kDepth>(t.key + first * t.depth, count, t.depth, t.depth_access, key);
    load_tile<kWidth>(t.value + first * t.width, count, t.width, t.width_access, value);
    __syncthreads();
    float s[kOwn][kOwn];
    products<kDepth>(query, key, t.depth, s);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      float most = maximum[i];
#pragma unroll
      for (int j = 0; j < kOwn; ++j) {
        if (thread_column() + j * kAcross >= count) s[i][j] = -INFINITY;
        most = fmaxf(most, s[i][j]);
      }
      most = reduce_across(most, Larger{});
      const float shrink = __expf(maximum[i] - most);
      maximum[i] = most;
      total[i] *= shrink;
#pragma unroll
      for (float& sum : sums[i]) sum *= shrink;
#pragma unroll
      for (float& score : s[i]) {
        score = __expf(score - most);
        total[i] += score;
      }
    }
    put_scores(s, scores);
    __syncwarp();
    accumulate(scores, value, sums);
  }
#pragma unroll
  for (int i = 0; i < kOwn; ++i) {
    total[i] = reduce_across(total[i], Add{});
#pragma unroll
    for (float& sum : sums[i]) sum /= total[i];
    if (thread_column() == 0 && thread_row() + i < own.count) {
      t.log_sum_out[first_query + thread_row() + i] = maximum[i] + logf(total[i]);
    }
  }
  __syncthreads();  // value is still being read
  stage(sums, value);
  __syncthreads();
  store_tile<kWidth>(value, own.count, t.width, t.width_access, false,
                     t.out + first_query * t.width);
}

// d_query of a tile of queries, over all keys.
template <int kDepth, int kWidth>
__global__ void __launch_bounds__(kThreads) backward_query_kernel(const AttentionTensors<float> t) {
  GPU_DYNAMIC_SHARED(float, query);
  float* key = query + kTile * stride_of(kDepth);
  float* d_y = key + kTile * stride_of(kDepth);
  float* value = d_y + kTile * stride_of(kWidth);
  float* scores = value + kTile * stride_of(kWidth);
  float* log_sums = scores + kTile * kScoreStride;
  float* deltas = log_sums + kTile;
  const Tile own = own_tile(t.queries);
  const int64_t first_query = own.n * t.queries + own.first;
  load_tile<kDepth>(t.query + first_query * t.depth, own.count, t.depth, t.depth_access, query);
  load_tile<kWidth>(t.d_y + first_query * t.width, own.count, t.width, t.width_access, d_y);
  __syncthreads();
  query_statistics<kThreads>(t, first_query, own.count, d_y, stride_of(kWidth), log_sums, deltas);
  float sums[kOwn][kDepth / kAcross] = {};
  for (int k0 = 0; k0 < t.keys; k0 += kTile) {
    const int64_t first = own.n * t.keys + k0;
    const int count = min(kTile, t.keys - k0);
    __syncthreads();  // the last tiles are still being read, the statistics written
    load_tile<kDepth>(t.key + first * t.depth, count, t.depth, t.depth_access, key);
    load_tile<kWidth>(t.value + first * t.width, count, t.width, t.width_access, value);
    __syncthreads();
    float s[kOwn][kOwn], d_weight[kOwn][kOwn];
    products<kDepth>(query, key, t.depth, s);
    products<kWidth>(d_y, value, t.width, d_weight);
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const float log_sum = log_sums[thread_row() + i], delta = deltas[thread_row() + i];
#pragma unroll
      for (int j = 0; j < kOwn; ++j) {
        const bool inside = thread_column() + j * kAcross < count;
        s[i][j] = inside ? __expf(s[i][j] - log_sum) * (d_weight[i][j] - delta) : 0.0f;
      }
    }
    put_scores(s, scores);
    __syncwarp();
    accumulate(scores, key, sums);
  }
  __syncthreads();  // key is still being read
  stage(sums, key);
  __syncthreads();
  store_tile<kDepth>(key, own.count, t.depth, t.depth_access, t.accumulate_query,
                     t.d_query + first_query * t.depth);
}

// d_key and d_value of a tile of keys, over all queries. Two blocks per multiprocessor where their
// shared memory allows it.
template <int kDepth, int kWidth>
__global__ void __launch_bounds__(kThreads, kWidth <= 96 ? 2 : 1)
    backward_key_kernel(const AttentionTensors<float> t) {
  GPU_DYNAMIC_SHARED(float, key);
  float* query = key + kTile * stride_of(kDepth);
  float* value = query + kTile * stride_of(kDepth);
  float* d_y = value + kTile * stride_of(kWidth);
  float* weights = d_y + kTile * stride_of(kWidth);
  float* d_scores = weights + kTile * kScoreStride;
  float* log_sums = d_scores + kTile * kScoreStride;
  float* deltas = log_sums + kTile;
  const Tile own = own_tile(t.keys);
  const int64_t first_key = own.n * t.keys + own.first;
  load_tile<kDepth>(t.key + first_key * t.depth, own.count, t.depth, t.depth_access, key);
  load_tile<kWidth>(t.value + first_key * t.width, own.count, t.width, t.width_access, value);
  float d_key[kOwn][kDepth / kAcross] = {}, d_value[kOwn][kWidth / kAcross] = {};
  for (int q0 = 0; q0 < t.queries; q0 += kTile) {
    const int64_t first = own.n * t.queries + q0;
    const int count = min(kTile, t.queries - q0);
    __syncthreads();  // the last tiles are still being read
    load_tile<kDepth>(t.query + first * t.depth, count, t.depth, t.depth_access, query);
    load_tile<kWidth>(t.d_y + first * t.width, count, t.width, t.width_access, d_y);
    __syncthreads();
    query_statistics<kThreads>(t, first, count, d_y, stride_of(kWidth), log_sums, deltas);
    __syncthreads();
    float s[kOwn][kOwn], d_weight[kOwn][kOwn];
    products<kDepth>(key, query, t.depth, s);
    products<kWidth>(value, d_y, t.width, d_weight);
#pragma unroll
    for (int j = 0; j < kOwn; ++j) {
      const int q = thread_column() + j * kAcross;
#pragma unroll
      for (int i = 0; i < kOwn; ++i) {
        s[i][j] = __expf(s[i][j] - log_sums[q]);
        d_weight[i][j] = s[i][j] * (d_weight[i][j] - deltas[q]);
      }
    }
    put_scores(s, weights);
    put_scores(d_weight, d_scores);
    __syncwarp();
    accumulate(weights, d_y, d_value);
    accumulate(d_scores, query, d_key);
  }
  __syncthreads();  // the last tiles are still being read
  stage(d_key, query);
  stage(d_value, d_y);
  __syncthreads();
  if (t.d_key != nullptr) {
    store_tile<kDepth>(query, own.count, t.depth, t.depth_access, t.accumulate_key,
                       t.d_key + first_key * t.depth);
  }
  if (t.d_value != nullptr) {
    store_tile<kWidth>(d_y, own.count, t.width, t.width_access, t.accumulate_value,
                       t.d_value + first_key * t.width);
  }
}

// A tensor's data; null where the view is empty.
template <class T, class V>
auto data_of(const V& view) {
  return view ? view.template as<T>() : nullptr;
}

// For rows of `channels`, `aligned` at the first.
template <class T, bool kHalves>
void choose_access(int64_t channels, bool aligned, RowAccess<T, kHalves>& access) {
  const auto choose = [&](int elems) { access.elems = elems; };
  if constexpr (kHalves) {
    dispatch_half_width<T>(channels, aligned, choose);
  } else {
    dispatch_width<T>(channels, aligned, choose);
  }
}

// Data and sizes, checked.
template <class T>
AttentionTensors<T> tensors_of(ConstView query, ConstView key, ConstView value) {
  const int64_t n = query.shape[0], keys = key.shape[1], depth = query.shape[2];
  check_shape("attention", "key", key.shape, {n, keys, depth});
  check_shape("attention", "value", value.shape, {n, keys, value.shape[2]});
  check(keys > 0 || query.shape[1] == 0, "attention: no keys for {} queries", query.shape[1]);
  return {.query = query.as<T>(),
          .key = key.as<T>(),
          .value = value.as<T>(),
          .queries = static_cast<int>(query.shape[1]),
          .keys = static_cast<int>(keys),
          .depth = static_cast<int>(depth),
          .width = static_cast<int>(value.shape[2])};
}

int64_t tiles_of(int64_t samples, int64_t rows) { return samples * blocks_for(rows, kTile); }

// Bytes of tiles of `columns` columns in all, scores and statistics.
size_t shared_bytes(int columns_with_padding, int score_tiles) {
  return sizeof(float) * kTile * (columns_with_padding + score_tiles * kScoreStride + 2);
}

// Calls body(Width<kDepth>, Width<kWidth>): the smallest tiles that hold the channels. 16 and 48:
// the discriminator's 12 and 48; 32 and 96: the generator's 24 and 96.
template <class Body>
void dispatch_channels(int depth, int width, const Body& body) {
  if (depth <= 16 && width <= 48) return body(Width<16>{}, Width<48>{});
  if (depth <= 32 && width <= 96) return body(Width<32>{}, Width<96>{});
  check(depth <= 64 && width <= 192, "attention: depth {} and width {}, on CUDA at most 64 and 192",
        depth, width);
  body(Width<64>{}, Width<192>{});
}

}  // namespace

void attention_forward(const CudaExec& ex, ConstView query, ConstView key, ConstView value, View y,
                       View log_sum) {
  const Observed observed(ex);
  check(query.shape.rank() == 3, "attention: query is {}", query.shape);
  const int64_t n = query.shape[0], queries = query.shape[1];
  check_shape("attention", "y", y.shape, {n, queries, value.shape[-1]});
  check_shape("attention", "log_sum", log_sum.shape, {n, queries});
  dispatch_cuda("attention", query.dtype, [&]<class T>(TypeTag<T>) {
    AttentionTensors<T> t = tensors_of<T>(query, key, value);
    t.out = y.as<T>();
    t.log_sum_out = log_sum.as<float>();
    choose_access(t.depth, all_aligned(t.query, t.key), t.depth_access);
    choose_access(t.width, all_aligned(t.value, t.out), t.width_access);
    dispatch_channels(t.depth, t.width, [&]<int D, int V>(Width<D>, Width<V>) {
      const int64_t blocks = tiles_of(n, queries);
      if constexpr (std::is_same_v<T, float>) {
        launch(forward_kernel<D, V>, blocks, kThreads,
               shared_bytes(2 * stride_of(D) + stride_of(V), 1), ex.stream, t);
      } else {
        launch(forward_bf16_kernel<D, V>, blocks, kBf16Threads,
               bf16_shared_bytes(2 * bf16_stride(D) + bf16_stride(V)), ex.stream, t);
      }
    });
  });
}

void attention_backward(const CudaExec& ex, const AttentionBackwardArgs& a) {
  const Observed observed(ex);
  check(a.query.shape.rank() == 3, "attention: query is {}", a.query.shape);
  const int64_t n = a.query.shape[0], queries = a.query.shape[1];
  check_shape("attention", "d_y", a.d_y.shape, {n, queries, a.value.shape[-1]});
  dispatch_cuda("attention", a.query.dtype, [&]<class T>(TypeTag<T>) {
    AttentionTensors<T> t = tensors_of<T>(a.query, a.key, a.value);
    t.y = a.y.as<T>();
    t.d_y = a.d_y.as<T>();
    t.log_sum = a.log_sum.as<float>();
    t.d_query = data_of<T>(a.d_query);
    t.d_key = data_of<T>(a.d_key);
    t.d_value = data_of<T>(a.d_value);
    t.accumulate_query = a.accumulate_query;
    t.accumulate_key = a.accumulate_key;
    t.accumulate_value = a.accumulate_value;
    choose_access(t.depth, all_aligned(t.query, t.key, t.d_query, t.d_key), t.depth_access);
    choose_access(t.width, all_aligned(t.value, t.y, t.d_y, t.d_value), t.width_access);
    dispatch_channels(t.depth, t.width, [&]<int D, int V>(Width<D>, Width<V>) {
      const int64_t query_blocks = t.d_query == nullptr ? 0 : tiles_of(n, queries);
      const bool has_key = t.d_key != nullptr || t.d_value != nullptr;
      const int64_t key_blocks = has_key ? tiles_of(n, t.keys) : 0;
      if constexpr (std::is_same_v<T, float>) {
        const int columns = 2 * (stride_of(D) + stride_of(V));
        launch(backward_query_kernel<D, V>, query_blocks, kThreads, shared_bytes(columns, 1),
               ex.stream, t);
        launch(backward_key_kernel<D, V>, key_blocks, kThreads, shared_bytes(columns, 2), ex.stream,
               t);
      } else {
        const size_t shared = bf16_shared_bytes(2 * (bf16_stride(D) + bf16_stride(V)));
        launch(backward_query_bf16_kernel<D, V>, query_blocks, kBf16Threads, shared, ex.stream, t);
        launch(backward_key_bf16_kernel<D, V>, key_blocks, kBf16Threads, shared, ex.stream, t);
      }
    });
  });
}

}  // namespace bigbigan
