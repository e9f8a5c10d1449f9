#include <algorithm>
#include <cmath>

#include "kernels/common/reduce.cuh"
#include "kernels/optim/gradient_sums_shapes.h"
#include "kernels/optim/segment_table.cuh"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound

// The chunks of each row of the sums, one behind the other; of many rows in tables of some.
struct Rows {
  static constexpr int kMax = 256;
  int first[kMax + 1];
};

struct Sums {
  double of[kGradientSums];
};
struct AddSums {
  __device__ Sums operator()(const Sums& a, const Sums& b) const {
    Sums sums;
    for (int k = 0; k < kGradientSums; ++k) sums.of[k] = a.of[k] + b.of[k];
    return sums;
  }
};

// partial (block) = the sums of its chunk. Squares in f64 from the start: one that f32 cannot hold
// is not a reason to skip a step.
__global__ void __launch_bounds__(kThreads)
    chunk_kernel(const SegmentTable table, const float* __restrict__ value,
                 const float* __restrict__ grad, Sums* partial) {
  int chunk = static_cast<int>(blockIdx.x);
  const Segment& s = entry_of_block(table, 0, chunk);
  double squares = 0;
  float along_weight = 0, along_uv = 0;
  for_each_pack(s, chunk, all_aligned(value, grad), [&](auto width, int64_t i) {
    float g[width], w[width];
    load(grad + i, g);
    if (s.u != nullptr) load(value + i, w);
#pragma unroll
    for (int k = 0; k < width; ++k)
      squares += static_cast<double>(g[k]) * static_cast<double>(g[k]);
    if (s.u == nullptr) return;
#pragma unroll
    for (int k = 0; k < width; ++k) along_weight += g[k] * w[k];
    for_each_uv<width>(s, i, [&](int k, float u, float v) { along_uv += g[k] * (u * v); });
  });
  const Sums sums{{squares, static_cast<double>(along_weight), static_cast<double>(along_uv)}};
  const Sums total = block_reduce(sums, Sums{}, AddSums{});
  if (threadIdx.x == 0) partial[blockIdx.x] = total;
}

// Row `block` of the sums, or added to it.
__global__ void __launch_bounds__(kThreads)
    row_kernel(const Rows rows, const Sums* __restrict__ partial, bool accumulate, Sums* sums) {
  const int row = static_cast<int>(blockIdx.x), end = rows.first[row + 1];
  Sums sum{};
  for (int i = rows.first[row] + static_cast<int>(threadIdx.x); i < end; i += kThreads) {
    sum = AddSums{}(sum, partial[i]);
  }
  const Sums total = block_reduce(sum, Sums{}, AddSums{});
  if (threadIdx.x == 0) sums[row] = accumulate ? AddSums{}(sums[row], total) : total;
}

__global__ void __launch_bounds__(kThreads)
    norm_kernel(const Sums* __restrict__ sums, const float* __restrict__ sigmas, int weights,
                float* squared_norm, int32_t* skip) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < weights; i += kThreads) {
    const Sums& row = sums[i];
    const auto sigma = static_cast<double>(sigmas[i]);
    const double along = row.of[kAlongWeight] / sigma;
    const double squares =
        (row.of[kSquares] - 2 * along * row.of[kAlongUV] + along * along) / (sigma * sigma);
    sum += squares < 0 ? 0 : squares;  // by rounding; NaN stays
  }
  const double total = block_sum(sum) + sums[weights].of[kSquares];
  if (threadIdx.x != 0) return;
  *squared_norm = static_cast<float>(total);
  if (!(total < INFINITY)) *skip = 1;  // NaN too
}

}  // namespace

void gradient_sums(const CudaExec& ex, ConstView value, ConstView grad,
                   const NormalizedWeights& weights, View sums, bool accumulate, View scratch) {
  const Observed observed(ex);
  check_gradient_sums(value, grad, weights, sums, scratch);
  static_assert(sizeof(Sums) == kGradientSums * sizeof(double));
  auto* partial = reinterpret_cast<Sums*>(scratch.as<double>());
  for_each_table(grad.elems(), weights,
                 [&](const SegmentTable& table, int64_t chunks, int64_t before) {
                   launch(chunk_kernel, chunks, kThreads, 0, ex.stream, table, value.as<float>(),
                          grad.as<float>(), partial + before);
                 });
  std::vector<int64_t> chunks(weights.size() + 1);  // of each row
  for (const WeightSegment& s : segments_of(grad.elems(), weights))
    chunks[s.weight] += chunks_of(s);
  auto* of_row = reinterpret_cast<Sums*>(sums.as<double>());
  int first = 0;
  for (int64_t begin = 0; begin < std::ssize(chunks); begin += Rows::kMax) {
    const int64_t count = std::min<int64_t>(Rows::kMax, std::ssize(chunks) - begin);
    Rows rows{.first = {first}};
    for (int64_t i = 0; i < count; ++i) {
      rows.first[i + 1] = first += static_cast<int>(chunks[begin + i]);
    }
    launch(row_kernel, count, kThreads, 0, ex.stream, rows, partial, accumulate, of_row + begin);
  }
}

void gradient_norm(const CudaExec& ex, const NormalizedWeights& weights, ConstView sums,
                   View squared_norm, View skip) {
  const Observed observed(ex);
  check_gradient_norm(weights, sums);
  launch(norm_kernel, 1, kThreads, 0, ex.stream, reinterpret_cast<const Sums*>(sums.as<double>()),
         weights.size() == 0 ? nullptr : weights.sigmas.as<float>(), weights.size(),
         squared_norm.as<float>(), skip.as<int32_t>());
}

}  // namespace bigbigan
