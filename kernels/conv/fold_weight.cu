#include "kernels/common/dispatch.cuh"
#include "kernels/common/units.cuh"
#include "kernels/conv/fold_weight_shapes.h"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count
constexpr int kTile = kWarp;   // of a transposition: rows of a warp's width on both sides

// Along one axis, the taps of the input that a tap of the output adds up: first ... last.
struct Range {
  int first, last;
};
struct Upsample {  // (w2, w1 + w2, w0 + w1, w0)
  static constexpr int kFrom = 3, kTo = 4;
  __device__ static Range range(int tap) { return {max(2 - tap, 0), min(3 - tap, 2)}; }
};
struct UpsampleBackward {  // (v2 + v3, v1 + v2, v0 + v1)
  static constexpr int kFrom = 4, kTo = 3;
  __device__ static Range range(int tap) { return {2 - tap, 3 - tap}; }
};
struct Average {  // (w0, w0 + w1, w1 + w2, w2), halved by the caller
  static constexpr int kFrom = 3, kTo = 4;
  __device__ static Range range(int tap) { return {max(tap - 1, 0), min(tap, 2)}; }
};
struct AverageBackward {  // (v0 + v1, v1 + v2, v2 + v3), halved by the caller
  static constexpr int kFrom = 4, kTo = 3;
  __device__ static Range range(int tap) { return {tap, tap + 1}; }
};
template <class Fold>
inline constexpr int kFromTaps = Fold::kFrom* Fold::kFrom;
template <class Fold>
inline constexpr int kToTaps = Fold::kTo* Fold::kTo;

// Element `tap` of the folded filter: sums in row-major order.
template <class Fold>
__device__ inline float folded(const float (&from)[kFromTaps<Fold>], int tap) {
  const Range rows = Fold::range(tap / Fold::kTo), columns = Fold::range(tap % Fold::kTo);
  float sum = 0;
#pragma unroll
  for (int r = 0; r < Fold::kFrom; ++r) {
#pragma unroll
    for (int s = 0; s < Fold::kFrom; ++s) {
      const bool inside =
          r >= rows.first && r <= rows.last && s >= columns.first && s <= columns.last;
      if (inside) sum += from[r * Fold::kFrom + s];
    }
  }
  return sum;
}

// out (filters, to, c) (+)= a quarter, a half on each axis, of the folded in (filters, from, c)
template <class Fold, class T, int N>
__global__ void fold_kernel(const float* __restrict__ in, uint32_t units, int c, bool accumulate,
                            T* out) {
  for_each_unit(units, [&](uint32_t u) {
    const UnitPlace at = place_of<N>(u, 1, c);  // a row is a filter
    float from[N][kFromTaps<Fold>];
#pragma unroll
    for (int tap = 0; tap < kFromTaps<Fold>; ++tap) {
      float v[N];
      load(in + (at.row * kFromTaps<Fold> + tap) * c + at.channel, v);
#pragma unroll
      for (int k = 0; k < N; ++k) from[k][tap] = v[k];
    }
#pragma unroll
    for (int tap = 0; tap < kToTaps<Fold>; ++tap) {
      T* to = out + (at.row * kToTaps<Fold> + tap) * c + at.channel;
      float v[N] = {};
      if (accumulate) load(to, v);
#pragma unroll
      for (int k = 0; k < N; ++k) v[k] += 0.25f * folded<Fold>(from[k], tap);
      store(to, v);
    }
  });
}

template <class Fold>
constexpr size_t tile_bytes() {
  return kFromTaps<Fold> * kTile * (kTile + 1) * sizeof(float);
}

// out (a, to, b) (+)= the folded in (b, from, a). A block turns a tile of 32 a and 32 b, so that
// warps read along a and write along b, 128 bytes each: packs would turn into gaps.
template <class Fold, class T>
__global__ void fold_transposed_kernel(const float* __restrict__ in, int a_extent, int b_extent,
                                       bool accumulate, T* out) {
  // [tap][b][a], rows one longer than a warp: neither side meets a bank twice.
  GPU_DYNAMIC_SHARED(float, tile);
  const auto place = [](int tap, int b, int a) { return (tap * kTile + b) * (kTile + 1) + a; };
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int a0 = static_cast<int>(blockIdx.x) * kTile, b0 = static_cast<int>(blockIdx.y) * kTile;
  for (int b = warp; b < kTile; b += kThreads / kWarp) {
    if (b0 + b >= b_extent || a0 + lane >= a_extent) continue;
#pragma unroll
    for (int tap = 0; tap < kFromTaps<Fold>; ++tap) {
      tile[place(tap, b, lane)] =
          in[(int64_t{b0 + b} * kFromTaps<Fold> + tap) * a_extent + a0 + lane];
    }
  }
  __syncthreads();
  for (int a = warp; a < kTile; a += kThreads / kWarp) {
    if (a0 + a >= a_extent || b0 + lane >= b_extent) continue;
    float from[kFromTaps<Fold>];
#pragma unroll
    for (int tap = 0; tap < kFromTaps<Fold>; ++tap) from[tap] = tile[place(tap, lane, a)];
#pragma unroll
    for (int tap = 0; tap < kToTaps<Fold>; ++tap) {
      T& to = out[(int64_t{a0 + a} * kToTaps<Fold> + tap) * b_extent + b0 + lane];
      to = from_float<T>((accumulate ? to_float(to) : 0.0f) + folded<Fold>(from, tap));
    }
  }
}

template <class Fold, class T>
void fold(const CudaExec& ex, ConstView in, bool accumulate, View out) {
  const int64_t c = in.shape[3];
  dispatch_width<float>(c, all_aligned(in.data, out.data), [&]<int N>(Width<N>) {
    const int64_t units = in.shape[0] * c / N;
    launch(fold_kernel<Fold, T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
           in.as<float>(), units, c, accumulate, out.as<T>());
  });
}

template <class Fold, class T>
void fold_transposed(const CudaExec& ex, ConstView in, bool accumulate, View out) {
  const int64_t a = out.shape[0], b = in.shape[0];
  launch(fold_transposed_kernel<Fold, T>, Extent(blocks_for(a, kTile), blocks_for(b, kTile)),
         kThreads, tile_bytes<Fold>(), ex.stream, in.as<float>(), a, b, accumulate, out.as<T>());
}

}  // namespace

void fold_upsample_weight(const CudaExec& ex, ConstView w, View v) {
  const Observed observed(ex);
  check_folded("fold_upsample_weight", w.shape, v.shape, true);
  dispatch_cuda("fold_upsample_weight", v.dtype,
                [&]<class T>(TypeTag<T>) { fold_transposed<Upsample, T>(ex, w, false, v); });
}

void fold_upsample_weight_backward(const CudaExec& ex, ConstView d_v, View d_w, bool accumulate) {
  const Observed observed(ex);
  check_folded("fold_upsample_weight", d_w.shape, d_v.shape, true);
  fold_transposed<UpsampleBackward, float>(ex, d_v, accumulate, d_w);
}

void fold_avg_pool_weight(const CudaExec& ex, ConstView w, View v) {
  const Observed observed(ex);
  check_folded("fold_avg_pool_weight", w.shape, v.shape, false);
  dispatch_cuda("fold_avg_pool_weight", v.dtype,
                [&]<class T>(TypeTag<T>) { fold<Average, T>(ex, w, false, v); });
}

void fold_avg_pool_weight_backward(const CudaExec& ex, ConstView d_v, View d_w, bool accumulate) {
  const Observed observed(ex);
  check_folded("fold_avg_pool_weight", d_w.shape, d_v.shape, false);
  fold<AverageBackward, float>(ex, d_v, accumulate, d_w);
}

}  // namespace bigbigan
