#include "kernels/common/ahead.cuh"
#include "kernels/common/dispatch.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/width.cuh"
#include "kernels/norm/batch_norm.h"
#include "kernels/norm/channel_tiles.cuh"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound, and 16 KiB of shared memory for bf16
// Blocks of batch_moments: fill a large device once. Fixed, so that sums do not depend on the
// device.
constexpr int64_t kBlocks = 1024;

// One more value, as a distance from the shift; `inverse` is 1 / the number of values so far.
__device__ inline void add_distance(float& mean, float& m2, float distance, float inverse) {
  const float delta = distance - mean;
  mean += delta * inverse;
  m2 += delta * (distance - mean);
}

// Moments of a block of rows, to partial (blocks, 2, C): mean, m2. Values are taken as distances
// from the block's first row, which f32 holds exactly however large the mean is; Welford's
// recurrence on them is safe even where that row is an outlier.
template <class T, int W>
__global__ void block_moments_kernel(const T* __restrict__ x, int rows, int channels,
                                     int rows_per_block, double* partial) {
  const int c = first_channel<W>();
  const bool inside = c < channels;
  const int begin = static_cast<int>(blockIdx.x) * rows_per_block;
  const int end = min(rows, begin + rows_per_block);
  float shift[W] = {};
  float m[2 * W + 1] = {};  // means, m2s, count
  if (inside) {
    load(x + int64_t{begin} * channels + c, shift);
    float count = 0;
    for_each_ahead<4>(
        begin + static_cast<int>(threadIdx.y), end, static_cast<int>(blockDim.y),
        [&](int r) { return floats_at<W>(x + int64_t{r} * channels + c); },
        [&](const Floats<W>& row) {
          count += 1;
          const float inverse = __fdividef(1.0f, count);
#pragma unroll
          for (int k = 0; k < W; ++k) add_distance(m[k], m[W + k], row.v[k] - shift[k], inverse);
        });
    m[2 * W] = count;
  }
  combine_down<kThreads>(m, [](float(&mine)[2 * W + 1], const float(&other)[2 * W + 1]) {
#pragma unroll
    for (int k = 0; k < W; ++k) {
      const Moments both =
          merge({mine[2 * W], mine[k], mine[W + k]}, {other[2 * W], other[k], other[W + k]});
      mine[k] = both.mean;
      mine[W + k] = both.m2;
    }
    mine[2 * W] += other[2 * W];
  });
  if (!inside || threadIdx.y != 0) return;
  double* out = partial + int64_t{blockIdx.x} * 2 * channels + c;
#pragma unroll
  for (int k = 0; k < W; ++k) {
    out[k] = static_cast<double>(shift[k]) + static_cast<double>(m[k]);
    out[channels + k] = static_cast<double>(m[W + k]);
  }
}

// Merges moments `from` = [count, mean, m2] of one channel into `to`.
__device__ inline void merge_into(double (&to)[3], const double (&from)[3]) {
  if (from[0] == 0) return;
  const double n = to[0] + from[0], share = from[0] / n, delta = from[1] - to[1];
  to[1] += delta * share;
  to[2] += from[2] + delta * delta * to[0] * share;
  to[0] = n;
}

// moments := merge of the blocks' partial (blocks, 2, C), threads (channels, slices of blocks).
__global__ void merge_blocks_kernel(const double* __restrict__ partial, int rows,
                                    int rows_per_block, int channels, double* moments) {
  const int c = static_cast<int>(blockIdx.x) * kColumnsAcross + static_cast<int>(threadIdx.x);
  double m[3] = {};
  if (c < channels) {
    struct Part {
      double moments[3];
    };
    const int blocks = rows == 0 ? 0 : (rows - 1) / rows_per_block + 1;
    for_each_ahead<8>(
        static_cast<int>(threadIdx.y), blocks, kColumnsDown,
        [&](int b) -> Part {
          const double* from = partial + int64_t{b} * 2 * channels + c;
          const int count = min(rows_per_block, rows - b * rows_per_block);
          return {{static_cast<double>(count), from[0], from[channels]}};
        },
        [&](const Part& part) { merge_into(m, part.moments); });
  }
  combine_down<kColumnBlock>(
      m, [](double(&mine)[3], const double(&other)[3]) { merge_into(mine, other); });
  if (threadIdx.y != 0) return;
  if (c == 0) moments[0] = static_cast<double>(rows);
  if (c >= channels) return;
  moments[1 + c] = m[1];
  moments[1 + channels + c] = m[2];
}

__global__ void merge_moments_kernel(const double* __restrict__ gathered, int sets, int channels,
                                     double* moments) {
  const auto c = static_cast<int>(grid_thread());
  const int64_t size = 1 + 2 * int64_t{channels};
  if (c >= max(channels, 1)) return;
  double m[3] = {};
  for (int r = 0; r < sets; ++r) {
    const double* from = gathered + r * size;
    if (channels == 0) {
      m[0] += from[0];
    } else {
      merge_into(m, {from[0], from[1 + c], from[1 + channels + c]});
    }
  }
  if (c == 0) moments[0] = m[0];
  if (c >= channels) return;
  moments[1 + c] = m[1];
  moments[1 + channels + c] = m[2];
}

__global__ void statistics_of_moments_kernel(const double* __restrict__ moments, double eps,
                                             int channels, double* statistics) {
  const auto c = static_cast<int>(grid_thread());
  if (c >= channels) return;
  const double count = moments[0], m2 = moments[1 + channels + c];
  statistics[c] = moments[1 + c];
  statistics[channels + c] = count > 0 ? 1 / sqrt(m2 / count + eps) : 0.0;
}

// Of a vector that may be absent.
__device__ inline double value_of(const float* values, int c) {
  return values == nullptr ? 0.0 : static_cast<double>(values[c]);
}

__global__ void statistics_of_stored_kernel(const float* __restrict__ mean,
                                            const float* __restrict__ variance,
                                            const float* __restrict__ shift, double eps,
                                            int channels, double* statistics) {
  const auto c = static_cast<int>(grid_thread());
  if (c >= channels) return;
  statistics[c] = static_cast<double>(mean[c]) - value_of(shift, c);
  statistics[channels + c] = 1 / sqrt(static_cast<double>(variance[c]) + eps);
}

__device__ inline void fold(float& running, double batch, double momentum) {
  if (!(fabs(batch) < INFINITY)) return;  // nor a NaN
  running = static_cast<float>(momentum * static_cast<double>(running) + (1 - momentum) * batch);
}

__global__ void update_running_kernel(const double* __restrict__ moments,
                                      const float* __restrict__ shift, double momentum,
                                      int channels, float* mean, float* variance) {
  const auto c = static_cast<int>(grid_thread());
  const double count = moments[0];
  if (c >= channels || count == 0) return;
  fold(mean[c], moments[1 + c] + value_of(shift, c), momentum);
  fold(variance[c], moments[1 + channels + c] / count, momentum);
}

}  // namespace

void batch_moments(const CudaExec& ex, ConstView x, View moments, View scratch) {
  const Observed observed(ex);
  const int64_t channels = x.shape[-1], rows = channels == 0 ? 0 : x.elems() / channels;
  const int64_t size = 1 + 2 * channels, elems = batch_moments_scratch_elems(x.shape);
  check_shape("batch_moments", "moments", moments.shape, {size});
  check(scratch.elems() >= elems, "batch_moments: scratch of {} elements", scratch.elems());
  auto* partial = scratch.as<double>();
  int64_t rows_per_block = 0;
  dispatch_cuda("batch_moments", x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(channels, all_aligned(x.as<T>()), [&]<int W>(Width<W>) {
      const ChannelTiles tiles = channel_tiles<W>(channels, rows, kThreads);
      const int64_t most = std::min(elems / size, kBlocks / std::max<int64_t>(1, tiles.tiles));
      rows_per_block = blocks_for(rows, std::max<int64_t>(1, most));
      const int64_t blocks = rows == 0 ? 0 : blocks_for(rows, rows_per_block);
      launch(block_moments_kernel<T, W>, {blocks, tiles.tiles}, tiles.block(), 0, ex.stream,
             x.as<T>(), rows, channels, rows_per_block, partial);
    });
  });
  const int64_t blocks = std::max<int64_t>(1, blocks_for(channels, kColumnsAcross));
  launch(merge_blocks_kernel, blocks, {kColumnsAcross, kColumnsDown}, 0, ex.stream, partial, rows,
         rows_per_block, channels, moments.as<double>());
}

void merge_moments(const CudaExec& ex, ConstView gathered, View moments) {
  const Observed observed(ex);
  const int64_t size = moments.shape[0], channels = (size - 1) / 2;
  check(gathered.elems() % size == 0, "merge_moments: {} into {}", gathered.shape, moments.shape);
  launch(merge_moments_kernel, blocks_for(size, kThreads), kThreads, 0, ex.stream,
         gathered.as<double>(), gathered.elems() / size, channels, moments.as<double>());
}

void statistics_of_moments(const CudaExec& ex, ConstView moments, double eps, View statistics) {
  const Observed observed(ex);
  const int64_t channels = statistics.shape[1];
  launch(statistics_of_moments_kernel, blocks_for(channels, kThreads), kThreads, 0, ex.stream,
         moments.as<double>(), eps, channels, statistics.as<double>());
}

void statistics_of_stored(const CudaExec& ex, ConstView mean, ConstView variance, ConstView shift,
                          double eps, View statistics) {
  const Observed observed(ex);
  const int64_t channels = statistics.shape[1];
  check_shape("batch_norm", "running mean", mean.shape, {channels});
  check_shape("batch_norm", "running variance", variance.shape, {channels});
  if (shift) check_shape("batch_norm", "shift", shift.shape, {channels});
  launch(statistics_of_stored_kernel, blocks_for(channels, kThreads), kThreads, 0, ex.stream,
         mean.as<float>(), variance.as<float>(), shift ? shift.as<float>() : nullptr, eps, channels,
         statistics.as<double>());
}

void update_running_statistics(const CudaExec& ex, ConstView moments, ConstView shift,
                               double momentum, View running_mean, View running_var) {
  const Observed observed(ex);
  const int64_t channels = running_mean.shape[0];
  if (shift) check_shape("batch_norm", "shift", shift.shape, {channels});
  launch(update_running_kernel, blocks_for(channels, kThreads), kThreads, 0, ex.stream,
         moments.as<double>(), shift ? shift.as<float>() : nullptr, momentum, channels,
         running_mean.as<float>(), running_var.as<float>());
}

}  // namespace bigbigan
