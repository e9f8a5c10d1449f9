#include "kernels/norm/batch_norm.h"

#include <algorithm>
#include <limits>

#include "kernels/common/dispatch.cuh"
#include "kernels/common/width.cuh"
#include "kernels/norm/batch_norm_shapes.h"
#include "kernels/norm/channel_tiles.cuh"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound; parameters of a pack of channels fill 40 registers
// One block sums a whole image, so that no second pass is needed: as many threads as registers
// allow, and tiles of few channels, since a batch may be few images.
constexpr int kSumThreads = 512;
constexpr int kSumPacks = 8;       // of such a tile: 128 bytes
constexpr int kRowsPerThread = 8;  // the parameters are loaded once for so many rows

// What the kernels know of a batch norm. Rows are pixels; a group of rows has parameters of its
// own: a sample where gain or bias is conditional, otherwise the batch is one group.
template <class T>
struct Norm {
  const T* x;
  const double* statistics;
  const T *gain, *bias;          // null: 1 and 0
  int gain_stride, bias_stride;  // elements from group to group: C or 0
  float gain_offset;
  int rows, width, channels;  // rows of a group, pixels of a row of the image
  bool relu, upsample;

  __device__ float rstd(int c) const { return static_cast<float>(statistics[channels + c]); }
};

// Floats of a block's channels in shared memory. 16 bytes are left out behind each 128, so that
// the packs of neighbouring threads lie in different banks.
__host__ __device__ constexpr int tile_place(int i) { return i + i / kWarp * 4; }
template <int W>
inline constexpr int kTileFloats = tile_place(kWarp* W);

// Calls body(channel, place in the tile) for the channels of a block, a thread for each.
template <int W, class Body>
__device__ inline void for_channels(int channels, const Body& body) {
  const int across = static_cast<int>(blockDim.x), threads = across * static_cast<int>(blockDim.y);
  const int first = static_cast<int>(blockIdx.y) * across * W;
  const int count = min(across * W, channels - first);
#pragma unroll 1  // mostly one round
  for (int i = static_cast<int>(threadIdx.y) * across + static_cast<int>(threadIdx.x); i < count;
       i += threads) {
    body(first + i, tile_place(i));
  }
}

// Channels of one thread: v = (x - mean) slope + bias.
template <int W>
struct Channels {
  float mean[W], slope[W], bias[W];

  // The block calls it, all of it, and reads each parameter once: threads that read those of their
  // own channels, which are neighbours, would use a quarter of each sector. Contains a barrier.
  template <class T>
  __device__ Channels(const Norm<T>& norm, int group) {
    GPU_SHARED(float, tile, [3][kTileFloats<W>]);
    for_channels<W>(norm.channels, [&](int c, int place) {
      float gain = 1.0f, shift = 0.0f;
      if (norm.gain != nullptr) gain = to_float(norm.gain[int64_t{group} * norm.gain_stride + c]);
      if (norm.bias != nullptr) shift = to_float(norm.bias[int64_t{group} * norm.bias_stride + c]);
      tile[0][place] = static_cast<float>(norm.statistics[c]);
      tile[1][place] = norm.rstd(c) * (gain + norm.gain_offset);
      tile[2][place] = shift;
    });
    __syncthreads();
    const int own = tile_place(static_cast<int>(threadIdx.x) * W);
    load(&tile[0][own], mean);
    load(&tile[1][own], slope);
    load(&tile[2][own], bias);
  }

  // The same instructions in forward and backward: the ReLU's mask is that of the output.
  __device__ float value(int k, float distance) const { return fmaf(distance, slope[k], bias[k]); }
};

// Offset of the upper left of the 2x2 pixels that come from pixel `row`.
template <class T>
__device__ inline int64_t upsampled(const Norm<T>& norm, int row, int c) {
  const int line = row / norm.width, w = row - line * norm.width;  // line = n H + h
  return (4 * int64_t{line} * norm.width + 2 * w) * norm.channels + c;
}

// The gradient of v but for the ReLU: d_y, summed over the pixels that came from one.
template <bool kUpsample, int W, class T>
__device__ inline void load_gradient(const Norm<T>& norm, const T* d_y, int row, int c,
                                     float (&g)[W]) {
  if constexpr (!kUpsample) {
    load(d_y + int64_t{row} * norm.channels + c, g);
    return;
  }
  const T* upper = d_y + upsampled(norm, row, c);
  const T* lower = upper + 2 * int64_t{norm.width} * norm.channels;
  float right[W], below[W], corner[W];
  load(upper, g);
  load(upper + norm.channels, right);
  load(lower, below);
  load(lower + norm.channels, corner);
#pragma unroll
  for (int k = 0; k < W; ++k) g[k] = (g[k] + right[k]) + (below[k] + corner[k]);
}

// Calls body(row) for the rows of a block: blockIdx.x counts blocks of rows, group by group.
template <class T, class Body>
__device__ inline void for_rows(const Norm<T>& norm, int group, int chunk, const Body& body) {
  const int rows_per_block = kRowsPerThread * static_cast<int>(blockDim.y);
  const int begin = chunk * rows_per_block, end = min(norm.rows, begin + rows_per_block);
  for (int r = begin + static_cast<int>(threadIdx.y); r < end; r += static_cast<int>(blockDim.y)) {
    body(group * norm.rows + r);
  }
}

template <class T, int W>
__global__ void apply_kernel(const Norm<T> norm, int chunks, T* __restrict__ y) {
  const int c = first_channel<W>();
  const int group = static_cast<int>(blockIdx.x) / chunks;
  const Channels<W> channels(norm, group);
  if (c >= norm.channels) return;
  for_rows(norm, group, static_cast<int>(blockIdx.x) - group * chunks, [&](int row) {
    float v[W];
    load(norm.x + int64_t{row} * norm.channels + c, v);
#pragma unroll
    for (int k = 0; k < W; ++k) {
      v[k] = channels.value(k, v[k] - channels.mean[k]);
      if (norm.relu) v[k] = v[k] < 0 ? 0.0f : v[k];  // keeps a NaN
    }
    if (!norm.upsample) {
      store(y + int64_t{row} * norm.channels + c, v);
      return;
    }
    T* upper = y + upsampled(norm, row, c);
    T* lower = upper + 2 * int64_t{norm.width} * norm.channels;
    store(upper, v);
    store(upper + norm.channels, v);
    store(lower, v);
    store(lower + norm.channels, v);
  });
}

// sums of one image and tile of channels per block. The groups of `norm` are images, whatever the
// strides of its parameters.
template <class T, bool kUpsample, int W>
__global__ void sums_kernel(const Norm<T> norm, const T* __restrict__ d_y, double* sums) {
  const int c = first_channel<W>(), n = static_cast<int>(blockIdx.x);
  float sum[2 * W] = {};  // of g, and of g (x - mean)
  const Channels<W> channels(norm, n);
  if (c < norm.channels) {
    for (int r = static_cast<int>(threadIdx.y); r < norm.rows; r += static_cast<int>(blockDim.y)) {
      const int row = n * norm.rows + r;
      float v[W], g[W];
      load(norm.x + int64_t{row} * norm.channels + c, v);
      load_gradient<kUpsample>(norm, d_y, row, c, g);
#pragma unroll
      for (int k = 0; k < W; ++k) {
        const float distance = v[k] - channels.mean[k];
        const float masked = norm.relu && !(channels.value(k, distance) > 0) ? 0.0f : g[k];
        sum[k] += masked;
        sum[W + k] += masked * distance;
      }
    }
  }
  sum_down<kSumThreads>(sum);
  if (c >= norm.channels || threadIdx.y != 0) return;
  double* out = sums + int64_t{n} * 2 * norm.channels + c;
#pragma unroll
  for (int k = 0; k < W; ++k) {
    out[k] = static_cast<double>(sum[k]);
    out[norm.channels + k] =
        static_cast<double>(sum[W + k]) * static_cast<double>(norm.rstd(c + k));
  }
}

// d_x (+)= slope g - rstd totals[0] / count - (x - mean) rstd^2 totals[1] / count
template <class T, int W>
__global__ void backward_x_kernel(const Norm<T> norm, int chunks, const T* __restrict__ d_y,
                                  const double* __restrict__ totals,
                                  const double* __restrict__ moments, bool accumulate, T* d_x) {
  GPU_SHARED(float, tile, [2][kTileFloats<W>]);
  const int c = first_channel<W>();
  const int group = static_cast<int>(blockIdx.x) / chunks;
  const double count = moments != nullptr ? *moments : 0.0;
  const double share = count > 0 ? 1 / count : 0.0;
  for_channels<W>(norm.channels, [&](int channel, int place) {
    const double scale = static_cast<double>(norm.rstd(channel)) * share;
    tile[0][place] = static_cast<float>(scale * totals[channel]);
    tile[1][place] =
        norm.rstd(channel) * static_cast<float>(scale * totals[norm.channels + channel]);
  });
  const Channels<W> channels(norm, group);  // with the barrier for both tiles
  if (c >= norm.channels) return;
  float offset[W], curve[W];
  load(&tile[0][tile_place(static_cast<int>(threadIdx.x) * W)], offset);
  load(&tile[1][tile_place(static_cast<int>(threadIdx.x) * W)], curve);
  for_rows(norm, group, static_cast<int>(blockIdx.x) - group * chunks, [&](int row) {
    const int64_t at = int64_t{row} * norm.channels + c;
    float v[W], g[W], out[W] = {};
    load(norm.x + at, v);
    if (norm.upsample) {
      load_gradient<true>(norm, d_y, row, c, g);
    } else {
      load_gradient<false>(norm, d_y, row, c, g);
    }
    if (accumulate) load(d_x + at, out);
#pragma unroll
    for (int k = 0; k < W; ++k) {
      const float distance = v[k] - channels.mean[k];
      const float masked = norm.relu && !(channels.value(k, distance) > 0) ? 0.0f : g[k];
      const float gradient = channels.slope[k] * masked - offset[k] - distance * curve[k];
      out[k] += gradient;
    }
    store(d_x + at, out);
  });
}

// The gradient of gain or bias: null where it is not wanted.
template <class G>
struct ParameterGradient {
  G* values;
  bool per_sample, accumulate;

  __device__ void put(int64_t at, double gradient) const {
    if (accumulate) gradient += static_cast<double>(to_float(values[at]));
    values[at] = from_float<G>(static_cast<float>(gradient));
  }
};

// Threads (channels, slices of samples).
template <class T, class G>
__global__ void totals_kernel(const Norm<T> norm, const double* __restrict__ sums, int samples,
                              double* totals, const ParameterGradient<G> d_gain,
                              const ParameterGradient<G> d_bias) {
  const int c = static_cast<int>(blockIdx.x) * kColumnsAcross + static_cast<int>(threadIdx.x);
  double total[4] = {};  // of g and g xhat, times the gain and plain
  if (c < norm.channels) {
    for (int n = static_cast<int>(threadIdx.y); n < samples; n += kColumnsDown) {
      double gain = static_cast<double>(norm.gain_offset);
      gain += norm.gain == nullptr
                  ? 1.0
                  : static_cast<double>(to_float(norm.gain[int64_t{n} * norm.gain_stride + c]));
      const double* from = sums + 2 * int64_t{n} * norm.channels + c;
      const double of_bias = from[0], of_gain = from[norm.channels];
      total[0] += gain * of_bias;
      total[1] += gain * of_gain;
      total[2] += of_bias;
      total[3] += of_gain;
      const int64_t at = int64_t{n} * norm.channels + c;
      if (d_gain.per_sample) d_gain.put(at, of_gain);
      if (d_bias.per_sample) d_bias.put(at, of_bias);
    }
  }
  sum_down<kColumnBlock>(total);
  if (c >= norm.channels || threadIdx.y != 0) return;
  totals[c] = total[0];
  totals[norm.channels + c] = total[1];
  if (d_gain.values != nullptr && !d_gain.per_sample) d_gain.put(c, total[3]);
  if (d_bias.values != nullptr && !d_bias.per_sample) d_bias.put(c, total[2]);
}

template <class G>
ParameterGradient<G> gradient_of(const BatchNormGradient& d) {
  if (!d.view) return {};
  return {d.view.as<G>(), d.view.shape.rank() == 2, d.accumulate};
}

template <class T>
Norm<T> norm_of(const BatchNormArgs& args) {
  const BatchNormSizes s = batch_norm_sizes(args.x.shape);
  check(s.n * s.pixels() <= std::numeric_limits<int>::max(), "batch_norm: {} is too large",
        args.x.shape);
  const auto stride = [&](ConstView p) { return p && p.shape.rank() == 2 ? s.c : 0; };
  return {.x = args.x.as<T>(),
          .statistics = args.statistics.as<double>(),
          .gain = args.gain ? args.gain.as<T>() : nullptr,
          .bias = args.bias ? args.bias.as<T>() : nullptr,
          .gain_stride = static_cast<int>(stride(args.gain)),
          .bias_stride = static_cast<int>(stride(args.bias)),
          .gain_offset = static_cast<float>(args.gain_offset),
          .rows = static_cast<int>(s.pixels()),
          .width = static_cast<int>(s.w),
          .channels = static_cast<int>(s.c),
          .relu = args.relu,
          .upsample = args.upsample};
}

// Calls body(norm, Width, samples): the groups of `norm` are images.
template <class Body>
void dispatch_norm(const BatchNormArgs& args, ConstView other, ConstView third, const Body& body) {
  dispatch_cuda("batch_norm", args.x.dtype, [&]<class T>(TypeTag<T>) {
    const Norm<T> norm = norm_of<T>(args);
    const bool aligned = all_aligned(norm.x, norm.gain, norm.bias, other.data, third.data);
    dispatch_width<T>(norm.channels, aligned,
                      [&](auto width) { body(norm, width, args.x.shape[0]); });
  });
}

// The grid of an element-wise kernel, and what it needs to know of it.
template <class T>
struct RowBlocks {
  Norm<T> norm;
  ChannelTiles tiles;
  int64_t groups, chunks;
  [[nodiscard]] Extent grid() const { return {groups * chunks, tiles.tiles}; }
};

template <int W, class T>
RowBlocks<T> row_blocks(Norm<T> norm, int64_t samples) {
  int64_t groups = samples;
  if (norm.gain_stride == 0 && norm.bias_stride == 0) {
    norm.rows *= static_cast<int>(samples);
    groups = 1;
  }
  const ChannelTiles tiles =
      channel_tiles<W>(norm.channels, blocks_for(norm.rows, kRowsPerThread), kThreads);
  const int64_t chunks = blocks_for(norm.rows, kRowsPerThread * tiles.down);
  return {norm, tiles, groups, chunks};
}

}  // namespace

void batch_norm_apply(const CudaExec& ex, const BatchNormArgs& args, View y) {
  const Observed observed(ex);
  check_batch_norm(args, y.shape);
  dispatch_norm(args, y, {}, [&]<class T, int W>(const Norm<T>& norm, Width<W>, int64_t samples) {
    const RowBlocks<T> blocks = row_blocks<W>(norm, samples);
    launch(apply_kernel<T, W>, blocks.grid(), blocks.tiles.block(), 0, ex.stream, blocks.norm,
           blocks.chunks, y.as<T>());
  });
}

void batch_norm_backward_sums(const CudaExec& ex, const BatchNormArgs& args, ConstView d_y,
                              View sums) {
  const Observed observed(ex);
  check_batch_norm(args, d_y.shape);
  check_shape("batch_norm", "sums", sums.shape, {args.x.shape[0], 2, args.x.shape[-1]});
  dispatch_norm(args, d_y, {}, [&]<class T, int W>(const Norm<T>& norm, Width<W>, int64_t samples) {
    // Wider ones where the threads of a narrow one would have fewer than kRowsPerThread rows.
    const int64_t packs =
        std::clamp(kRowsPerThread * kSumThreads / std::max(norm.rows, 1), kSumPacks, kWarp);
    const ChannelTiles tiles = channel_tiles<W>(norm.channels, norm.rows, kSumThreads, packs);
    const auto kernel = norm.upsample ? sums_kernel<T, true, W> : sums_kernel<T, false, W>;
    launch(kernel, {samples, tiles.tiles}, tiles.block(), 0, ex.stream, norm, d_y.as<T>(),
           sums.as<double>());
  });
}

void batch_norm_backward_totals(const CudaExec& ex, const BatchNormArgs& args, ConstView sums,
                                View totals, const BatchNormGradient& d_gain,
                                const BatchNormGradient& d_bias) {
  const Observed observed(ex);
  check_batch_norm_totals(args, sums, totals, d_gain, d_bias);
  const int64_t n = sums.shape[0], c = sums.shape[2];
  const View& any = d_gain.view ? d_gain.view : d_bias.view;
  dispatch_cuda("batch_norm", args.x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_cuda("batch_norm", any ? any.dtype : args.x.dtype, [&]<class G>(TypeTag<G>) {
      launch(totals_kernel<T, G>, blocks_for(c, kColumnsAcross), {kColumnsAcross, kColumnsDown}, 0,
             ex.stream, norm_of<T>(args), sums.as<double>(), n, totals.as<double>(),
             gradient_of<G>(d_gain), gradient_of<G>(d_bias));
    });
  });
}

void batch_norm_backward_x(const CudaExec& ex, const BatchNormArgs& args, ConstView d_y,
                           ConstView totals, ConstView moments, View d_x, bool accumulate) {
  const Observed observed(ex);
  check_batch_norm(args, d_y.shape);
  check_shape("batch_norm", "d_x", d_x.shape, args.x.shape);
  const double* count = moments ? moments.as<double>() : nullptr;
  dispatch_norm(args, d_y, d_x,
                [&]<class T, int W>(const Norm<T>& norm, Width<W>, int64_t samples) {
                  const RowBlocks<T> blocks = row_blocks<W>(norm, samples);
                  launch(backward_x_kernel<T, W>, blocks.grid(), blocks.tiles.block(), 0, ex.stream,
                         blocks.norm, blocks.chunks, d_y.as<T>(), totals.as<double>(), count,
                         accumulate, d_x.as<T>());
                });
}

}  // namespace bigbigan
