#include "kernels/norm/spectral_norm.h"

#include <algorithm>
#include <limits>

#include "kernels/common/pack.cuh"
#include "kernels/common/reduce.cuh"
#include "kernels/common/table.cuh"
#include "kernels/norm/spectral_norm_layout.h"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound
constexpr int kWarps = kThreads / kWarp;
constexpr int kPack = kPackElems<float>;  // half a pack where y is bf16
constexpr int kTile = static_cast<int>(kSpectralTile);
constexpr int kRowsPerWarp = kTile / kWarps;  // of v W^T: v is read once for so many rows
// Of an element-wise block, 16 packs per thread: beside them the sums that it begins with, a number
// for each kSpectralTile columns, are a few percent.
constexpr int kMapElems = 64 * kThreads;

// Of all weights of a network: Note [Tables].
enum Pass { kColumnSums, kColumns, kRows, kScale, kPasses };

struct Weight {
  const float* w;
  float *u, *v, *sigma;
  void* y;                                                        // f32 or bf16
  double *column_sums, *column_squares, *products, *row_squares;  // SpectralNormLayout
  int rows, columns;
  bool packed;    // whole packs in every row
  bool y_packed;  // in y, and in w beside it
  bool narrow;    // y is bf16
  int first[kPasses];
};

using Weights = Table<Weight, 128>;  // 13 KiB of the 32 KiB for arguments

template <class Body>
__device__ inline void with_packs(bool packed, const Body& body) {
  if (packed) {
    body(Width<kPack>{});
  } else {
    body(Width<1>{});
  }
}

// The sum of `count` numbers, for all threads.
__device__ inline double block_total(const double* values, int count) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) sum += values[i];
  return block_reduce(sum, 0.0, AddF64{});
}

__device__ inline int parts(int n, int per_part) { return (n + per_part - 1) / per_part; }

// u W over kSpectralRows rows and a warp of packs of columns.
__global__ void column_sums_kernel(const Weights table) {
  GPU_SHARED(float, of_warp, [kWarps][kWarp * kPack]);
  int block = static_cast<int>(blockIdx.x);
  const Weight& a = entry_of_block(table, kColumnSums, block);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int across = kWarp * (a.packed ? kPack : 1), tiles = parts(a.columns, across);
  const int row_block = block / tiles, first = (block - row_block * tiles) * across;
  const int begin = row_block * static_cast<int>(kSpectralRows);
  const int end = min(a.rows, begin + static_cast<int>(kSpectralRows));
  with_packs(a.packed, [&](auto width) {
    const int column = first + lane * width;
    float sum[width] = {};
    if (column < a.columns) {
      for (int r = begin + warp; r < end; r += kWarps) {
        float w[width];
        load(a.w + int64_t{r} * a.columns + column, w);
        const float u = a.u[r];
#pragma unroll
        for (int k = 0; k < width; ++k) sum[k] += u * w[k];
      }
    }
    store(&of_warp[warp][lane * width], sum);
  });
  __syncthreads();
  const int i = static_cast<int>(threadIdx.x);
  if (i >= across || first + i >= a.columns) return;
  double total = 0;
  for (const auto& sums : of_warp) total += static_cast<double>(sums[i]);
  a.column_sums[int64_t{row_block} * a.columns + first + i] = total;
}

// v = u W, not normalised, and the sum of its squares over a tile of columns.
__global__ void columns_kernel(const Weights table) {
  GPU_SHARED(double, of_warp, [kWarps][kWarp]);
  int tile = static_cast<int>(blockIdx.x);
  const Weight& a = entry_of_block(table, kColumns, tile);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int column = tile * kTile + lane, row_blocks = parts(a.rows, kSpectralRows);
  double sum = 0;
  if (column < a.columns) {
    for (int b = warp; b < row_blocks; b += kWarps) {
      sum += a.column_sums[int64_t{b} * a.columns + column];
    }
  }
  of_warp[warp][lane] = sum;
  __syncthreads();
  if (warp != 0) return;
  double total = 0;
  for (const auto& sums : of_warp) total += sums[lane];
  const double squares = warp_reduce(total * total, AddF64{});
  if (lane == 0) a.column_squares[tile] = squares;
  if (column < a.columns) a.v[column] = static_cast<float>(total);
}

// 1 / max(norm, eps)
__device__ inline double inverse_norm(double norm, double eps) { return 1 / fmax(norm, eps); }

// Products of v, normalised on the fly, with a tile of rows of W, and the sum of their squares.
__global__ void rows_kernel(const Weights table, double eps) {
  GPU_SHARED(double, products, [kTile]);
  int tile = static_cast<int>(blockIdx.x);
  const Weight& a = entry_of_block(table, kRows, tile);
  const double norm = sqrt(block_total(a.column_squares, parts(a.columns, kTile)));
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int first = tile * kTile + warp * kRowsPerWarp;
  float sum[kRowsPerWarp] = {};
  with_packs(a.packed, [&](auto width) {
    for (int column = lane * width; column < a.columns; column += kWarp * width) {
      float v[width], w[width];
      load(a.v + column, v);
#pragma unroll
      for (int r = 0; r < kRowsPerWarp; ++r) {
        if (first + r >= a.rows) continue;
        load(a.w + int64_t{first + r} * a.columns + column, w);
#pragma unroll
        for (int k = 0; k < width; ++k) sum[r] += v[k] * w[k];
      }
    }
  });
#pragma unroll
  for (int r = 0; r < kRowsPerWarp; ++r) {
    const double product =
        warp_reduce(static_cast<double>(sum[r]), AddF64{}) * inverse_norm(norm, eps);
    if (lane == 0) products[warp * kRowsPerWarp + r] = product;  // 0 beyond the last row
    if (lane == 0 && first + r < a.rows) a.products[first + r] = product;
  }
  __syncthreads();
  if (warp != 0) return;
  const double squares = warp_reduce(products[lane] * products[lane], AddF64{});
  if (lane == 0) a.row_squares[tile] = squares;
}

// The block's elements of y = factor w.
template <class T>
__device__ inline void scale_weight(const Weight& a, int block, int elems, float factor) {
  T* y = static_cast<T*>(a.y);
  with_packs(a.y_packed, [&](auto width) {
    const int end = min(elems, (block + 1) * kMapElems), thread = static_cast<int>(threadIdx.x);
    for (int i = block * kMapElems + thread * width; i < end; i += kThreads * width) {
      float w[width];
      load(a.w + i, w);
      for (float& value : w) value *= factor;
      store(y + i, w);
    }
  });
}

// y = w / sigma, and what is left: sigma, v and u normalised.
__global__ void scale_kernel(const Weights table, bool iterate, double eps) {
  int block = static_cast<int>(blockIdx.x);
  const Weight& a = entry_of_block(table, kScale, block);
  const int elems = a.rows * a.columns, blocks = max(1, parts(elems, kMapElems));
  const double v_norm = sqrt(block_total(a.column_squares, parts(a.columns, kTile)));
  double sigma = v_norm, u_norm = 0;
  if (iterate) {
    u_norm = sqrt(block_total(a.row_squares, parts(a.rows, kTile)));
    sigma = u_norm * u_norm * inverse_norm(u_norm, eps);
  }
  const int thread = static_cast<int>(threadIdx.x);
  const auto factor = static_cast<float>(1 / sigma);
  if (a.narrow) {
    scale_weight<bf16>(a, block, elems, factor);
  } else {
    scale_weight<float>(a, block, elems, factor);
  }
  const double v_factor = inverse_norm(v_norm, eps), u_factor = inverse_norm(u_norm, eps);
  for (int i = block * kThreads + thread; i < a.columns; i += blocks * kThreads) {
    a.v[i] = static_cast<float>(static_cast<double>(a.v[i]) * v_factor);
  }
  for (int i = block * kThreads + thread; iterate && i < a.rows; i += blocks * kThreads) {
    a.u[i] = static_cast<float>(a.products[i] * u_factor);
  }
  if (block == 0 && thread == 0) *a.sigma = static_cast<float>(sigma);
}

// Rows times columns as the kernels count them.
int checked_elems(int64_t elems) {
  // A block's range may end beyond the last element.
  check(elems <= std::numeric_limits<int>::max() - kMapElems,
        "spectral_norm: a weight of {} elements", elems);
  return static_cast<int>(elems);
}

bool is_narrow(ConstView y) {
  check(y.dtype == DType::kF32 || y.dtype == DType::kBF16, "spectral_norm: no CUDA kernel for {}",
        name_of(y.dtype));
  return y.dtype == DType::kBF16;
}

// The entry of a weight, its blocks behind those counted so far.
Weight weight_of(const SpectralNormArgs& a, double* scratch, int64_t (&blocks)[kPasses]) {
  const SpectralNormLayout layout{a.u.elems(), a.v.elems()};
  const int64_t elems = checked_elems(a.w.elems());
  Weight weight{.w = a.w.as<float>(),
                .u = a.u.as<float>(),
                .v = a.v.as<float>(),
                .sigma = a.sigma.as<float>(),
                .y = a.y.data,
                .column_sums = scratch,
                .rows = static_cast<int>(layout.rows),
                .columns = static_cast<int>(layout.columns),
                .narrow = is_narrow(a.y)};
  weight.column_squares = weight.column_sums + layout.row_blocks() * layout.columns;
  weight.products = weight.column_squares + layout.column_tiles();
  weight.row_squares = weight.products + layout.rows;
  weight.packed = layout.columns % kPack == 0 && all_aligned(weight.w, weight.v);
  weight.y_packed = layout.columns % kPack == 0 && all_aligned(weight.w, weight.y);
  const int64_t tiles = blocks_for(layout.columns, kWarp * (weight.packed ? kPack : 1));
  const int64_t of_weight[kPasses] = {layout.row_blocks() * tiles, layout.column_tiles(),
                                      layout.row_tiles(),
                                      std::max<int64_t>(1, blocks_for(elems, kMapElems))};
  for (int pass = 0; pass < kPasses; ++pass) {
    weight.first[pass] = static_cast<int>(blocks[pass]);
    blocks[pass] += of_weight[pass];
  }
  return weight;
}

}  // namespace

void spectral_norm(const CudaExec& ex, std::span<const SpectralNormArgs> weights, bool iterate,
                   double eps, View scratch) {
  const Observed observed(ex);
  check(scratch.elems() >= spectral_norm_scratch_elems(weights),
        "spectral_norm: scratch of {} elements", scratch.elems());
  auto* next = scratch.as<double>();
  while (!weights.empty()) {
    const auto some = weights.first(std::min<size_t>(weights.size(), Weights::kMax));
    Weights table{};
    int64_t blocks[kPasses] = {};
    for (const SpectralNormArgs& a : some) {
      check_shape("spectral_norm", "u", a.u.shape, {a.w.shape[0]});
      check(a.v.elems() * a.u.elems() == a.w.elems(), "spectral_norm: v is {} for w {}", a.v.shape,
            a.w.shape);
      check_shape("spectral_norm", "y", a.y.shape, a.w.shape);
      table.entries[table.count++] = weight_of(a, next, blocks);
      next += SpectralNormLayout{a.u.elems(), a.v.elems()}.elems();
    }
    launch(column_sums_kernel, blocks[kColumnSums], kThreads, 0, ex.stream, table);
    launch(columns_kernel, blocks[kColumns], kThreads, 0, ex.stream, table);
    if (iterate) launch(rows_kernel, blocks[kRows], kThreads, 0, ex.stream, table, eps);
    launch(scale_kernel, blocks[kScale], kThreads, 0, ex.stream, table, iterate, eps);
    weights = weights.subspan(some.size());
  }
}

}  // namespace bigbigan
