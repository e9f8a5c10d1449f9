#include <algorithm>

#include "kernels/common/columns.cuh"
#include "kernels/common/dispatch.cuh"
#include "kernels/common/ptx.cuh"
#include "kernels/common/units.cuh"
#include "kernels/reduce/column_sum_shapes.h"

namespace bigbigan {
namespace {

// Chunks of rows: enough blocks to fill a large device, few enough that the second pass stays short
// beside the first.
constexpr int64_t kMaxChunks = 1024;
// Of the second pass, a block of columns and chunks: a row of f64 per warp, and enough warps that
// they have a few dozen chunks each.
constexpr int kColumns = kWarp, kLanes = 16;

// The values that are summed: x itself.
template <class T>
struct Plain {
  const T* __restrict__ x;

  template <int N>
  __device__ Floats<N> read(int64_t at) const {
    return floats_at<N>(x + at);
  }
  template <int N>
  __device__ void keep(const Floats<N>&) const {}
};

// d_y where y > 0, which are kept in d.
template <class T>
struct Masked {
  const T* __restrict__ y;
  const T* __restrict__ d_y;
  T* __restrict__ d;

  template <int N>
  struct Values {
    float v[N];
    int64_t at;
  };
  template <int N>
  __device__ Values<N> read(int64_t at) const {
    float active[N];
    Values<N> values = {.at = at};
    load(y + at, active);
    load(d_y + at, values.v);
#pragma unroll
    for (int k = 0; k < N; ++k) values.v[k] = active[k] > 0 ? values.v[k] : 0.0f;
    return values;
  }
  template <int N>
  __device__ void keep(const Values<N>& values) const {
    if constexpr (N == 1) {
      store(d + values.at, values.v);
    } else {
      store_16(d + values.at, Pack<T>::from_floats(values.v).words);
    }
  }
};

// partial (chunks, channels) = sums over the rows of the chunk blockIdx.x
template <class Values, int N>
__global__ void chunk_sums_kernel(Values values, int64_t rows, int channels, int64_t rows_per_chunk,
                                  double* partial) {
  const int first = static_cast<int>(blockIdx.y) * kColumnThreads;  // in units of N columns
  const int units = min(channels / N - first, kColumnThreads);
  const int64_t begin = blockIdx.x * rows_per_chunk;
  const int64_t from = begin * channels + int64_t{first} * N;
  float sums[N];
  sum_columns_of(
      min(rows - begin, rows_per_chunk), units, sums,
      [&](int64_t row, int unit) {
        return values.template read<N>(from + row * channels + int64_t{unit} * N);
      },
      [&](const auto& row) { values.keep(row); });
  if (static_cast<int>(threadIdx.x) >= units) return;
  double* to = partial + int64_t{blockIdx.x} * channels + (first + int64_t{threadIdx.x}) * N;
#pragma unroll
  for (int k = 0; k < N; ++k) to[k] = sums[k];
}

// The kernel's form of ColumnSums; null: none.
template <class T>
struct Sums {
  T* y;
  bool accumulate;

  __device__ void put(int column, double total) const {
    if (y == nullptr) return;
    if (accumulate) total += static_cast<double>(to_float(y[column]));
    y[column] = from_float<T>(static_cast<float>(total));
  }
};
template <class T>
Sums<T> sums_of(const ColumnSums& to) {
  return {to.y ? to.y.as<T>() : nullptr, to.accumulate};
}

// The sums of the chunks, of each column.
template <class T>
__global__ void column_totals_kernel(const double* __restrict__ partial, int chunks, int channels,
                                     const Sums<T> to, const Sums<T> also) {
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
  double total = 0;
  for (int i = 0; i < kLanes; ++i) total += of_lane[i][within];
  to.put(column, total);
  also.put(column, total);
}

// The columns of `values`, which are those of a tensor of this shape.
template <class T, class Values>
void sum_columns(const CudaExec& ex, const Shape& shape, bool aligned, const Values& values,
                 const ColumnSums& to, const ColumnSums& also, View scratch) {
  check_column_sum(shape, to, also, scratch);
  const int64_t channels = shape[-1], rows = rows_of(shape);
  auto* partial = scratch.as<double>();
  const int64_t most =
      rows == 0 ? 1 : std::min(column_sum_scratch_elems(shape) / channels, kMaxChunks);
  const int64_t rows_per_chunk = std::max<int64_t>(1, blocks_for(rows, most));
  const int64_t chunks = blocks_for(rows, rows_per_chunk);
  dispatch_width<T>(channels, aligned, [&]<int N>(Width<N>) {
    const Extent grid(chunks, blocks_for(channels / N, kColumnThreads));
    launch(chunk_sums_kernel<Values, N>, grid, kColumnThreads, 0, ex.stream, values, rows, channels,
           rows_per_chunk, partial);
  });
  dispatch_cuda("column_sum", to.y.dtype, [&]<class To>(TypeTag<To>) {
    launch(column_totals_kernel<To>, blocks_for(channels, kColumns), kColumns * kLanes, 0,
           ex.stream, partial, chunks, channels, sums_of<To>(to), sums_of<To>(also));
  });
}

}  // namespace

void column_sum(const CudaExec& ex, ConstView x, const ColumnSums& to, const ColumnSums& also,
                View scratch) {
  const Observed observed(ex);
  dispatch_cuda("column_sum", x.dtype, [&]<class T>(TypeTag<T>) {
    sum_columns<T>(ex, x.shape, all_aligned(x.data), Plain<T>{x.as<T>()}, to, also, scratch);
  });
}

void relu_backward_sums(const CudaExec& ex, ConstView y, ConstView d_y, View d, View sums,
                        bool accumulate, View scratch) {
  const Observed observed(ex);
  check_relu_sums(y, d_y, d);
  dispatch_cuda("relu_backward_sums", y.dtype, [&]<class T>(TypeTag<T>) {
    sum_columns<T>(ex, y.shape, all_aligned(y.data, d_y.data, d.data),
                   Masked<T>{y.as<T>(), d_y.as<T>(), d.as<T>()}, {sums, accumulate}, {}, scratch);
  });
}

}  // namespace bigbigan
