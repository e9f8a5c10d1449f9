// Sums, maxima and moments over a warp or a block, in a fixed order: every thread gets the same
// bits, whatever the schedule.
//
// All threads of the block take part, whole warps of them: a thread without data brings the neutral
// element. Barriers protect the shared scratch on both sides, so that calls may follow each other.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/common/launch.cuh"

namespace bigbigan {

// Moments of `count` values: their mean and the sum of their squared distances from it.
// Counts are exact up to 2^24.
struct Moments {
  float count, mean, m2;  // no initialisers: it lies in shared memory
};

// The moments of both sets together (Chan et al. 1979): no difference of large squares.
__host__ __device__ inline Moments merge(const Moments& a, const Moments& b) {
  const float count = a.count + b.count;
  if (count == 0) return a;
  const float delta = b.mean - a.mean, share = b.count / count;
  return {count, a.mean + delta * share, a.m2 + b.m2 + delta * delta * a.count * share};
}

// One more value (Welford 1962).
__host__ __device__ inline void add_value(Moments& m, float value) {
  m.count += 1;
  const float delta = value - m.mean;
  m.mean += delta / m.count;
  m.m2 += delta * (value - m.mean);
}

// The value of the lane whose number differs in the bits of `distance`. T is made of 4-byte words.
template <class T>
__device__ inline T exchange(const T& value, int distance) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % 4 == 0);
  uint32_t words[sizeof(T) / 4];
  memcpy(words, &value, sizeof(T));
#pragma unroll
  for (uint32_t& word : words) word = __shfl_xor_sync(kFullMask, word, distance);
  T other;
  memcpy(&other, words, sizeof(T));
  return other;
}

// combine(a, b) over the warp. The lower lane is always the left operand: the same bits in all
// lanes, even where `combine` is symmetric in exact arithmetic only.
template <class T, class Combine>
__device__ inline T warp_reduce(T value, const Combine& combine) {
#pragma unroll
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    const T other = exchange(value, distance);
    const bool left = (threadIdx.x & static_cast<unsigned>(distance)) == 0;
    value = left ? combine(value, other) : combine(other, value);
  }
  return value;
}

// combine(a, b) over a block of one dimension and whole warps, for all threads.
template <class T, class Combine>
__device__ inline T block_reduce(T value, const T& neutral, const Combine& combine) {
  GPU_SHARED(T, of_warp, [kMaxThreads / kWarp]);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  value = warp_reduce(value, combine);
  __syncthreads();  // the last call's results may still be being read
  if (lane == 0) of_warp[warp] = value;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  return warp_reduce(lane < warps ? of_warp[lane] : neutral, combine);
}

struct Add {
  __device__ float operator()(float a, float b) const { return a + b; }
};
struct AddF64 {  // Add would cut its operands down to f32
  __device__ double operator()(double a, double b) const { return a + b; }
};
struct Larger {
  __device__ float operator()(float a, float b) const { return a < b ? b : a; }
};
struct Merge {
  __device__ Moments operator()(const Moments& a, const Moments& b) const { return merge(a, b); }
};

__device__ inline float warp_sum(float value) { return warp_reduce(value, Add{}); }
__device__ inline float warp_max(float value) { return warp_reduce(value, Larger{}); }
__device__ inline Moments warp_moments(const Moments& m) { return warp_reduce(m, Merge{}); }

__device__ inline float block_sum(float value) { return block_reduce(value, 0.0f, Add{}); }
__device__ inline double block_sum(double value) { return block_reduce(value, 0.0, AddF64{}); }
// The second pass of a sum: the `count` partial sums of the first, by one block.
__device__ inline double block_sum_of(const double* __restrict__ partial, int64_t count) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += partial[i];
  return block_sum(sum);
}
// A thread without data brings -INFINITY.
__device__ inline float block_max(float value) { return block_reduce(value, -INFINITY, Larger{}); }
__device__ inline Moments block_moments(const Moments& m) {
  return block_reduce(m, Moments{0, 0, 0}, Merge{});
}

}  // namespace bigbigan
