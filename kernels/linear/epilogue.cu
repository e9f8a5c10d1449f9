#include "kernels/linear/epilogue.h"

#include "kernels/common/columns.cuh"
#include "kernels/common/dispatch.cuh"
#include "kernels/common/units.cuh"

namespace bigbigan {
namespace {

// Columns of a block: those of a mask's 16 bytes, so that each warp has a word of it.
constexpr int kColumns = 128;
// Units of columns of a block that sums: 128 bytes, so that a few thousand columns are blocks
// enough.
constexpr int kSumUnits = 8;

struct Finish {
  const uint32_t* only_where;  // null where there is none, as the others
  uint32_t* positive;
  int columns;
  int blocks_per_row;
  bool relu;
};

template <class T>
__global__ void epilogue_kernel(Finish f, const T* __restrict__ bias, T* c) {
  const int64_t row = blockIdx.x / f.blocks_per_row;
  const int column =
      static_cast<int>(blockIdx.x) % f.blocks_per_row * kColumns + static_cast<int>(threadIdx.x);
  const int64_t word = (int64_t{blockIdx.x} * kColumns + threadIdx.x) / kWarp;
  const int bit = static_cast<int>(threadIdx.x) % kWarp;
  const bool is_inside = column < f.columns;
  T* const at = c + row * f.columns + column;
  float v = is_inside ? to_float(*at) : 0.0f;
  if (bias != nullptr && is_inside) v += to_float(bias[column]);
  if (f.only_where != nullptr && (f.only_where[word] >> bit & 1) == 0) v = 0;
  if (f.relu && v < 0) v = 0;  // keeps a NaN
  const unsigned above = __ballot_sync(kFullMask, v > 0 ? 1 : 0);
  if (f.positive != nullptr && bit == 0) f.positive[word] = above;
  if (is_inside) *at = from_float<T>(v);
}

// sums (columns) = the sums of the rows of a
template <class T, int N>
__global__ void a_sums_kernel(const T* __restrict__ a, int64_t rows, int columns, float* sums) {
  const int first = static_cast<int>(blockIdx.x) * kSumUnits;  // in units of N columns
  const int units = min(columns / N - first, kSumUnits);
  float of_unit[N];
  column_sums(a + int64_t{first} * N, rows, columns, units, of_unit);
  if (static_cast<int>(threadIdx.x) < units) {
    store(sums + (first + int64_t{threadIdx.x}) * N, of_unit);
  }
}

template <class T>
T* pointer(ConstView view) {
  return view ? static_cast<T*>(const_cast<void*>(view.data)) : nullptr;
}

}  // namespace

void gemm_finish(const CudaExec& ex, const GemmArgs& g) {
  const Observed observed(ex);
  const GemmSizes s = gemm_sizes(g);
  if (g.a_sums) {
    dispatch_cuda("gemm_finish", g.a.dtype, [&]<class T>(TypeTag<T>) {
      dispatch_width<T>(s.m, all_aligned(g.a.data, g.a_sums.data), [&]<int N>(Width<N>) {
        launch(a_sums_kernel<T, N>, blocks_for(s.m / N, kSumUnits), kColumnThreads, 0, ex.stream,
               g.a.as<T>(), s.k, s.m, g.a_sums.as<float>());
      });
    });
  }
  if (!g.bias && !g.relu && !g.only_where) return;
  const int64_t per_row = blocks_for(s.n, kColumns);
  dispatch_cuda("gemm_finish", g.c.dtype, [&]<class T>(TypeTag<T>) {
    const Finish finish = {pointer<const uint32_t>(g.only_where), pointer<uint32_t>(g.positive),
                           static_cast<int>(s.n), static_cast<int>(per_row), g.relu};
    launch(epilogue_kernel<T>, s.m * per_row, kColumns, 0, ex.stream, finish,
           pointer<const T>(g.bias), g.c.as<T>());
  });
}

}  // namespace bigbigan
