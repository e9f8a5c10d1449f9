// CUDA's device language for g++, over NVIDIA's own headers: built-in variables, barriers,
// shuffles, votes, atomics, intrinsics. What is not here does not compile; it enters with the first
// kernel that needs it.
//
// Every collective takes the place of its call as a defaulted last argument. One collective per
// line, or two of them count as one place.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "scheduler.h"

#undef __shared__  // a bare use is an error: GPU_SHARED of launch.cuh
#undef __launch_bounds__
#define __launch_bounds__(...)

// Set by the scheduler whenever it resumes a thread.
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

// --- barriers and votes ---

inline void __syncthreads(emu::Site site = emu::Site::here()) { emu::block_barrier(site); }
inline int __syncthreads_count(int predicate, emu::Site site = emu::Site::here()) {
  return emu::block_count(predicate, site);
}
inline int __syncthreads_or(int predicate, emu::Site site = emu::Site::here()) {
  return emu::block_count(predicate, site) > 0 ? 1 : 0;
}
inline int __syncthreads_and(int predicate, emu::Site site = emu::Site::here()) {
  return emu::block_count(predicate == 0, site) == 0 ? 1 : 0;
}
inline void __syncwarp(unsigned mask = 0xffffffff, emu::Site site = emu::Site::here()) {
  emu::warp_barrier(mask, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, emu::Site site = emu::Site::here()) {
  // Absent lanes hold 0 in their words.
  const uint64_t* words = emu::warp_exchange(mask, predicate != 0 ? 1 : 0, site);
  unsigned votes = 0;
  for (unsigned i = 0; i < 32; ++i) votes |= static_cast<unsigned>(words[i]) << i;
  return votes;
}
inline int __any_sync(unsigned mask, int predicate, emu::Site site = emu::Site::here()) {
  return __ballot_sync(mask, predicate, site) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, emu::Site site = emu::Site::here()) {
  return __ballot_sync(mask, predicate == 0, site) == 0 ? 1 : 0;
}

// --- shuffles ---

namespace emu {

template <class T>
T shuffle(unsigned mask, T value, unsigned source, Site site) {
  static_assert(std::is_arithmetic_v<T>, "CUDA shuffles numbers of 4 or 8 bytes");
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "CUDA shuffles numbers of 4 or 8 bytes");
  uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  word = warp_shuffle(mask, word, source, site);
  std::memcpy(&value, &word, sizeof(T));
  return value;
}

// The first lane of the caller's segment of `width` lanes.
inline unsigned segment(int width) { return lane() & ~static_cast<unsigned>(width - 1); }

}  // namespace emu

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              emu::Site site = emu::Site::here()) {
  const unsigned offset = static_cast<unsigned>(source) & static_cast<unsigned>(width - 1);
  return emu::shuffle(mask, value, emu::segment(width) + offset, site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 emu::Site site = emu::Site::here()) {
  const bool inside = emu::lane() >= emu::segment(width) + delta;
  return emu::shuffle(mask, value, inside ? emu::lane() - delta : emu::lane(), site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   emu::Site site = emu::Site::here()) {
  const bool inside = emu::lane() + delta < emu::segment(width) + static_cast<unsigned>(width);
  return emu::shuffle(mask, value, inside ? emu::lane() + delta : emu::lane(), site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  emu::Site site = emu::Site::here()) {
  const unsigned source = emu::lane() ^ static_cast<unsigned>(lane_mask);
  const bool inside = source < emu::segment(width) + static_cast<unsigned>(width);
  return emu::shuffle(mask, value, inside ? source : emu::lane(), site);
}

// --- fences and atomics ---

inline void __threadfence() { emu::thread_fence(); }
inline void __threadfence_block() { emu::thread_fence(); }

namespace emu {

// One thread runs at a time: relaxed order is enough, and leaves ThreadSanitizer to see that an
// atomic orders nothing.
template <class T, class Change>
T atomic_change(T* address, const Change& change) {
  T found;
  __atomic_load(address, &found, __ATOMIC_RELAXED);
  T wanted = change(found);
  while (!__atomic_compare_exchange(address, &found, &wanted, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED)) {
    wanted = change(found);
  }
  return found;
}

template <class T>
inline constexpr bool kAtomic =
    std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;
template <class T>
inline constexpr bool kAtomicAdd = kAtomic<T> || std::is_floating_point_v<T>;

}  // namespace emu

template <class T>
requires emu::kAtomicAdd<T> T atomicAdd(T* address, std::type_identity_t<T> value) {
  return emu::atomic_change(address, [=](T found) { return static_cast<T>(found + value); });
}
template <class T>
requires emu::kAtomic<T> T atomicMax(T* address, std::type_identity_t<T> value) {
  return emu::atomic_change(address, [=](T found) { return found < value ? value : found; });
}
template <class T>
requires emu::kAtomic<T> T atomicMin(T* address, std::type_identity_t<T> value) {
  return emu::atomic_change(address, [=](T found) { return value < found ? value : found; });
}
template <class T>
requires emu::kAtomic<T> T atomicOr(T* address, std::type_identity_t<T> value) {
  return emu::atomic_change(address, [=](T found) { return found | value; });
}
template <class T>
requires emu::kAtomic<T> T atomicExch(T* address, std::type_identity_t<T> value) {
  return emu::atomic_change(address, [=](T) { return value; });
}
template <class T>
requires emu::kAtomic<T> T atomicCAS(T* address, std::type_identity_t<T> expected,
                                     std::type_identity_t<T> value) {
  return emu::atomic_change(address, [=](T found) { return found == expected ? value : found; });
}
// Counts up to `limit`, then starts again at 0.
inline unsigned atomicInc(unsigned* address, unsigned limit) {
  return emu::atomic_change(address, [=](unsigned n) { return n >= limit ? 0u : n + 1; });
}

// --- memory hints: plain accesses ---

template <class T>
T __ldg(const T* address) {
  return *address;
}
template <class T>
T __ldcs(const T* address) {
  return *address;
}
template <class T>
T __ldcg(const T* address) {
  return *address;
}
template <class T>
void __stcs(T* address, std::type_identity_t<T> value) {
  *address = value;
}
template <class T>
void __stcg(T* address, std::type_identity_t<T> value) {
  *address = value;
}

// --- numbers ---
// The fast forms give the last bits of the host's library, not those of a GPU.

template <class T>
requires std::is_arithmetic_v<T>
constexpr T min(T a, T b) { return b < a ? b : a; }
template <class T>
requires std::is_arithmetic_v<T>
constexpr T max(T a, T b) { return a < b ? b : a; }

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }

inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<uint64_t>(a) * b) >> 32);
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f; }  // NaN gives 0
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline void sincospif(float x, float* sine, float* cosine) {
  // The remainder is exact, so that large x lose nothing.
  const double angle = std::remainder(static_cast<double>(x), 2.0) * 3.14159265358979323846;
  *sine = static_cast<float>(std::sin(angle));
  *cosine = static_cast<float>(std::cos(angle));
}
