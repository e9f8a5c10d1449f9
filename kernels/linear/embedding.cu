#include <cmath>

#include "kernels/common/dispatch.cuh"
#include "kernels/common/units.cuh"
#include "kernels/linear/embedding.h"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count
// Of backward, where a warp has a class: small blocks, so that few classes spread over the device.
constexpr int kBackwardThreads = 128;

// y (N rows) = table[labels], NaN for a label outside the table
template <class T, int N>
__global__ void embedding_kernel(const T* __restrict__ table, const int32_t* __restrict__ labels,
                                 uint32_t units, int classes, int width, T* y) {
  for_each_unit(units, [&](uint32_t u) {
    const uint32_t per_row = static_cast<uint32_t>(width) / N, row = u / per_row;
    const int label = labels[row];
    float v[N];
    if (0 <= label && label < classes) {
      load(table + static_cast<int64_t>(label) * width + (u - row * per_row) * N, v);
    } else {
#pragma unroll
      for (float& value : v) value = NAN;
    }
    store(y + static_cast<int64_t>(u) * N, v);
  });
}

// d_table (classes, width) (+)= the rows of d_y (n, width) whose label it is, in their order
template <class T, int N>
__global__ void embedding_backward_kernel(const int32_t* __restrict__ labels,
                                          const T* __restrict__ d_y, int n, int classes, int width,
                                          bool accumulate, float* d_table) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int64_t label = grid_thread() / kWarp;
  if (label >= classes) return;  // a whole warp
  for (int base = 0; base < width; base += kWarp * N) {
    const int column = base + lane * N;
    float* to = d_table + label * width + column;
    float sum[N] = {};
    if (accumulate && column < width) load(to, sum);
    for (int first = 0; first < n; first += kWarp) {
      const bool found = first + lane < n && labels[first + lane] == label;
      unsigned rows = __ballot_sync(kFullMask, found ? 1 : 0);
      for (; rows != 0; rows &= rows - 1) {
        const int row = first + __ffs(static_cast<int>(rows)) - 1;
        if (column >= width) continue;
        float v[N];
        load(d_y + static_cast<int64_t>(row) * width + column, v);
#pragma unroll
        for (int k = 0; k < N; ++k) sum[k] += v[k];
      }
    }
    if (column < width) store(to, sum);
  }
}

}  // namespace

void embedding_forward(const CudaExec& ex, ConstView table, ConstView labels, View y) {
  const Observed observed(ex);
  const int64_t n = labels.shape[0], width = table.shape[1];
  check_shape("embedding", "y", y.shape, {n, width});
  dispatch_cuda("embedding", y.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(width, all_aligned(table.data, y.data), [&]<int N>(Width<N>) {
      const int64_t units = y.elems() / N;
      launch(embedding_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
             table.as<T>(), labels.as<int32_t>(), units, table.shape[0], width, y.as<T>());
    });
  });
}

void embedding_backward(const CudaExec& ex, ConstView labels, ConstView d_y, View d_table,
                        bool accumulate) {
  const Observed observed(ex);
  const int64_t n = labels.shape[0], classes = d_table.shape[0], width = d_table.shape[1];
  check_shape("embedding", "d_y", d_y.shape, {n, width});
  const int64_t blocks = width == 0 ? 0 : blocks_for(classes * kWarp, kBackwardThreads);
  dispatch_cuda("embedding", d_y.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<float>(width, all_aligned(d_y.data, d_table.data), [&]<int N>(Width<N>) {
      launch(embedding_backward_kernel<T, N>, blocks, kBackwardThreads, 0, ex.stream,
             labels.as<int32_t>(), d_y.as<T>(), n, classes, width, accumulate, d_table.as<float>());
    });
  });
}

}  // namespace bigbigan
