#include <algorithm>

#include "kernels/common/columns.cuh"
#include "kernels/common/dispatch.cuh"
#include "kernels/common/units.cuh"
#include "kernels/reduce/column_sum.h"

namespace bigbigan {
namespace {

// Chunks of rows: enough blocks to fill a large device, few enough that the second pass stays short
// beside the first.
constexpr int64_t kMaxChunks = 1024;
// Of the second pass, a block of columns and chunks: a row of f64 per warp, and enough warps that
// they have a few dozen chunks each.
constexpr int kColumns = kWarp, kLanes = 16;

// partial (chunks, channels) = sums over the rows of the chunk blockIdx.x
template <class T, int N>
__global__ void chunk_sums_kernel(const T* __restrict__ x, int64_t rows, int channels,
                                  int64_t rows_per_chunk, double* partial) {
  const int first = static_cast<int>(blockIdx.y) * kColumnThreads;  // in units of N columns
  const int units = min(channels / N - first, kColumnThreads);
  const int64_t begin = blockIdx.x * rows_per_chunk;
  float sums[N];
  column_sums(x + begin * channels + int64_t{first} * N, min(rows - begin, rows_per_chunk),
              channels, units, sums);
  if (static_cast<int>(threadIdx.x) >= units) return;
  double* to = partial + int64_t{blockIdx.x} * channels + (first + int64_t{threadIdx.x}) * N;
#pragma unroll
  for (int k = 0; k < N; ++k) to[k] = sums[k];
}

// y (channels) (+)= the sums of the chunks
template <class T>
__global__ void column_totals_kernel(const double* __restrict__ partial, int chunks, int channels,
                                     bool accumulate, T* y) {
  GPU_SHARED(double, of_lane, [kLanes][kColumns]);
  const int lane = static_cast<int>(threadIdx.x) / kColumns;
  const int within = static_cast<int>(threadIdx.x) % kColumns;
  const int column = static_cast<int>(blockIdx.x) * kColumns + within;
  double sum = 0;
  if (column < channels) {
    for (int64_t chunk = lane; chunk < chunks; chunk += kLanes) {
      sum += partial[chunk * channels + column];
    }
  }
  of_lane[lane][within] = sum;
  __syncthreads();
  if (lane != 0 || column >= channels) return;
  double total = accumulate ? static_cast<double>(to_float(y[column])) : 0.0;
  for (int i = 0; i < kLanes; ++i) total += of_lane[i][within];
  y[column] = from_float<T>(static_cast<float>(total));
}

}  // namespace

void column_sum(const CudaExec& ex, ConstView x, View y, bool accumulate, View scratch) {
  const Observed observed(ex);
  const int64_t channels = x.shape[-1], rows = channels == 0 ? 0 : x.elems() / channels;
  const int64_t needed = column_sum_scratch_elems(x.shape);
  check(y.elems() == channels, "column_sum: y is {}, expected ({})", y.shape, channels);
  check(scratch.elems() >= needed, "column_sum: scratch of {} elements", scratch.elems());
  auto* partial = scratch.as<double>();
  const int64_t most = rows == 0 ? 1 : std::min(needed / channels, kMaxChunks);
  const int64_t rows_per_chunk = std::max<int64_t>(1, blocks_for(rows, most));
  const int64_t chunks = blocks_for(rows, rows_per_chunk);
  dispatch_cuda("column_sum", x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(channels, all_aligned(x.data), [&]<int N>(Width<N>) {
      const Extent grid(chunks, blocks_for(channels / N, kColumnThreads));
      launch(chunk_sums_kernel<T, N>, grid, kColumnThreads, 0, ex.stream, x.as<T>(), rows, channels,
             rows_per_chunk, partial);
    });
  });
  dispatch_cuda("column_sum", y.dtype, [&]<class T>(TypeTag<T>) {
    launch(column_totals_kernel<T>, blocks_for(channels, kColumns), kColumns * kLanes, 0, ex.stream,
           partial, chunks, channels, accumulate, y.as<T>());
  });
}

}  // namespace bigbigan
