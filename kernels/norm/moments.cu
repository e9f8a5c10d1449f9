#include "kernels/common/ahead.cuh"
#include "kernels/common/dispatch.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/width.cuh"
#include "kernels/norm/batch_norm_shapes.h"
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

// Moments of the parts of a batch: of each part C means and C m2s, `stride` from part to part.
struct Parts {
  const double* means = nullptr;
  int64_t stride = 0;
  int parts = 0;
  const double* counts = nullptr;  // of each part; null: rows_per_part, and the last has the rest
  int rows = 0, rows_per_part = 0;

  __device__ double count(int part) const {
    return counts != nullptr ? counts[part * stride]
                             : static_cast<double>(min(rows_per_part, rows - part * rows_per_part));
  }
};

// What comes of them; without `statistics` the moments alone.
struct Merged {
  double *moments = nullptr, *statistics = nullptr;
  double eps = 0;
  float *mean = nullptr, *variance = nullptr;  // stored ones, if any
  const float* shift = nullptr;
  double momentum = 0;
};

// Of a vector that may be absent.
__device__ inline double value_of(const float* values, int c) {
  return values == nullptr ? 0.0 : static_cast<double>(values[c]);
}

__device__ inline void fold(float& running, double batch, double momentum) {
  if (!(fabs(batch) < INFINITY)) return;  // nor a NaN
  running = static_cast<float>(momentum * static_cast<double>(running) + (1 - momentum) * batch);
}

__device__ inline void finish(const Merged& out, int c, int channels, const double (&m)[3]) {
  const double count = m[0], variance = count > 0 ? m[2] / count : 0.0;
  out.statistics[c] = m[1];
  out.statistics[channels + c] = count > 0 ? 1 / sqrt(variance + out.eps) : 0.0;
  if (out.mean == nullptr || count == 0) return;
  fold(out.mean[c], m[1] + value_of(out.shift, c), out.momentum);
  fold(out.variance[c], variance, out.momentum);
}

// Threads (channels, slices of parts).
__global__ void merge_kernel(const Parts from, int channels, const Merged out) {
  const int c = static_cast<int>(blockIdx.x) * kColumnsAcross + static_cast<int>(threadIdx.x);
  const bool inside = c < channels;  // others merge the counts alone: there may be no channels
  struct Part {
    double moments[3];
  };
  double m[3] = {};
  for_each_ahead<8>(
      static_cast<int>(threadIdx.y), from.parts, kColumnsDown,
      [&](int part) -> Part {
        const double* means = from.means + part * from.stride + c;
        return {{from.count(part), inside ? means[0] : 0.0, inside ? means[channels] : 0.0}};
      },
      [&](const Part& part) { merge_into(m, part.moments); });
  combine_down<kColumnBlock>(
      m, [](double(&mine)[3], const double(&other)[3]) { merge_into(mine, other); });
  if (threadIdx.y != 0) return;
  if (c == 0) out.moments[0] = m[0];
  if (!inside) return;
  out.moments[1 + c] = m[1];
  out.moments[1 + channels + c] = m[2];
  if (out.statistics != nullptr) finish(out, c, channels, m);
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

void merge_parts(const CudaExec& ex, const Parts& parts, int64_t channels, const Merged& out) {
  const int64_t blocks = std::max<int64_t>(1, blocks_for(channels, kColumnsAcross));
  launch(merge_kernel, blocks, {kColumnsAcross, kColumnsDown}, 0, ex.stream, parts, channels, out);
}

Merged merged_into(const BatchStatistics& out, int64_t channels) {
  check_batch_statistics(out, channels);
  return {.moments = out.moments.as<double>(),
          .statistics = out.statistics.as<double>(),
          .eps = out.eps,
          .mean = out.running_mean ? out.running_mean.as<float>() : nullptr,
          .variance = out.running_mean ? out.running_var.as<float>() : nullptr,
          .shift = out.shift ? out.shift.as<float>() : nullptr,
          .momentum = out.momentum};
}

// Moments of blocks of rows of x, at the beginning of `scratch`.
Parts moments_of_blocks(const CudaExec& ex, ConstView x, View scratch) {
  const int64_t channels = x.shape[-1], rows = channels == 0 ? 0 : x.elems() / channels;
  const int64_t elems = batch_moments_scratch_elems(x.shape);
  check(scratch.elems() >= elems, "batch_moments: scratch of {} elements", scratch.elems());
  auto* partial = scratch.as<double>();
  int64_t blocks = 0, rows_per_block = 0;
  dispatch_cuda("batch_moments", x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(channels, all_aligned(x.as<T>()), [&]<int W>(Width<W>) {
      const ChannelTiles tiles = channel_tiles<W>(channels, rows, kThreads);
      const int64_t most =
          std::min(elems / (1 + 2 * channels), kBlocks / std::max<int64_t>(1, tiles.tiles));
      rows_per_block = blocks_for(rows, std::max<int64_t>(1, most));
      blocks = rows == 0 ? 0 : blocks_for(rows, rows_per_block);
      launch(block_moments_kernel<T, W>, {blocks, tiles.tiles}, tiles.block(), 0, ex.stream,
             x.as<T>(), rows, channels, rows_per_block, partial);
    });
  });
  return {.means = partial,
          .stride = 2 * channels,
          .parts = static_cast<int>(blocks),
          .rows = static_cast<int>(rows),
          .rows_per_part = static_cast<int>(rows_per_block)};
}

}  // namespace

void batch_moments(const CudaExec& ex, ConstView x, View moments, View scratch) {
  const Observed observed(ex);
  const int64_t channels = x.shape[-1];
  check_shape("batch_moments", "moments", moments.shape, {1 + 2 * channels});
  merge_parts(ex, moments_of_blocks(ex, x, scratch), channels, {.moments = moments.as<double>()});
}

void batch_statistics(const CudaExec& ex, ConstView x, const BatchStatistics& out, View scratch) {
  const Observed observed(ex);
  const int64_t channels = x.shape[-1];
  const Merged merged = merged_into(out, channels);
  merge_parts(ex, moments_of_blocks(ex, x, scratch), channels, merged);
}

void merged_statistics(const CudaExec& ex, ConstView gathered, const BatchStatistics& out) {
  const Observed observed(ex);
  const int64_t channels = channels_of_moments(gathered);
  const auto* moments = gathered.as<double>();
  merge_parts(ex,
              {.means = moments + 1,
               .stride = 1 + 2 * channels,
               .parts = static_cast<int>(gathered.shape[0]),
               .counts = moments},
              channels, merged_into(out, channels));
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

}  // namespace bigbigan
