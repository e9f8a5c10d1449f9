// Vectorised traffic: elements of f32 or bf16 in global memory, floats in
// registers, 16 bytes per access.
//
//   __global__ void scale_kernel(const T* x, float factor, int64_t n, T* y) {
//     for_each_pack<kPackElems<T>>(n, all_aligned(x, y), [&](auto width, int64_t i) {
//       float v[width];
//       load(x + i, v);
//       for (float& value : v) value *= factor;
//       store(y + i, v);
//     });
//   }
//   launch(scale_kernel<T>, pack_blocks<kPackElems<T>>(n, kThreads), kThreads, 0, stream, ...);
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/common/dtype.h"
#include "kernels/common/launch.cuh"
#include "kernels/common/ptx.cuh"

namespace bigbigan {

inline constexpr int kPackBytes = 16;
// Elements in one access: 4 of f32, 8 of bf16. Where both meet in a loop, those of f32 and half a
// pack of bf16: eight of f32 would be two accesses, each of which uses half of its sectors.
template <class T>
inline constexpr int kPackElems = kPackBytes / static_cast<int>(sizeof(T));

// --- one element ---

__device__ inline float to_float(float value) { return value; }
__device__ inline float to_float(bf16 value) {
  return __uint_as_float(static_cast<uint32_t>(value.bits) << 16);
}

template <class T>
__device__ inline T from_float(float value) {
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    static_assert(std::is_same_v<T, bf16>, "f32 or bf16");
    // Not by a constructor of bf16: those are the host's.
    return __builtin_bit_cast(bf16, static_cast<uint16_t>(round_to_bf16x2(value, 0)));
  }
}

// --- words ---

// One float per word, or two of bf16, the first in the lower half.
template <class T, int kWords>
__device__ inline void floats_of_words(const uint32_t (&word)[kWords], float* out) {
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      out[i] = __uint_as_float(word[i]);
    } else {
      out[2 * i] = __uint_as_float(word[i] << 16);
      out[2 * i + 1] = __uint_as_float(word[i] & 0xffff0000);
    }
  }
}

template <class T, int kWords>
__device__ inline void words_of_floats(const float* in, uint32_t (&word)[kWords]) {
#pragma unroll
  for (int i = 0; i < kWords; ++i) {
    if constexpr (std::is_same_v<T, float>) {
      word[i] = __float_as_uint(in[i]);
    } else {
      word[i] = round_to_bf16x2(in[2 * i], in[2 * i + 1]);
    }
  }
}

// --- 16 bytes ---

// The words are one uint4: a struct of eight bf16 would be copied member by
// member, in 2-byte accesses.
template <class T>
struct Pack {
  static constexpr int kElems = kPackElems<T>;
  uint4 words;  // no initialiser: packs may lie in shared memory

  // `address` is a multiple of 16.
  __device__ static Pack load(const T* address) {
    return {*reinterpret_cast<const uint4*>(address)};
  }
  __device__ void store(T* address) const { *reinterpret_cast<uint4*>(address) = words; }

  __device__ void to_floats(float* out) const {
    const uint32_t word[4] = {words.x, words.y, words.z, words.w};
    floats_of_words<T>(word, out);
  }

  __device__ static Pack from_floats(const float* in) {
    uint32_t word[4];
    words_of_floats<T>(in, word);
    return {{word[0], word[1], word[2], word[3]}};
  }
};

// --- N elements, of any kind ---

template <class T>
inline constexpr int kHalfPack = kPackBytes / 2 / static_cast<int>(sizeof(T));

// N neighbours as floats, N = 1, half a pack of bf16 or a multiple of the pack; `address` is a
// multiple of the element, 8 or 16 bytes.
template <int N, class T>
__device__ inline void load(const T* address, float (&out)[N]) {
  if constexpr (N == 1) {
    out[0] = to_float(*address);
  } else if constexpr (N == kHalfPack<T>) {
    const uint2 both = *reinterpret_cast<const uint2*>(address);
    const uint32_t word[2] = {both.x, both.y};
    floats_of_words<T>(word, out);
  } else {
    static_assert(N % kPackElems<T> == 0, "whole packs");
#pragma unroll
    for (int i = 0; i < N; i += kPackElems<T>) Pack<T>::load(address + i).to_floats(out + i);
  }
}

template <int N, class T>
__device__ inline void store(T* address, const float (&in)[N]) {
  if constexpr (N == 1) {
    *address = from_float<T>(in[0]);
  } else if constexpr (N == kHalfPack<T>) {
    uint32_t word[2];
    words_of_floats<T>(in, word);
    const uint2 both = {word[0], word[1]};
    *reinterpret_cast<uint2*>(address) = both;
  } else {
    static_assert(N % kPackElems<T> == 0, "whole packs");
#pragma unroll
    for (int i = 0; i < N; i += kPackElems<T>) Pack<T>::from_floats(in + i).store(address + i);
  }
}

// N neighbouring bytes beside N elements, N = 1, 4 or 8; `address` is a multiple of N.
template <int N>
__device__ inline void load_bytes(const uint8_t* address, uint8_t (&out)[N]) {
  if constexpr (N == 1) {
    out[0] = *address;
  } else {
    uint32_t words[N / 4];
    if constexpr (N == 4) {
      words[0] = *reinterpret_cast<const uint32_t*>(address);
    } else {
      static_assert(N == 8, "1, 4 or 8 bytes");
      const uint2 both = *reinterpret_cast<const uint2*>(address);
      words[0] = both.x;
      words[1] = both.y;
    }
#pragma unroll
    for (int i = 0; i < N; ++i) out[i] = static_cast<uint8_t>(words[i / 4] >> (8 * (i % 4)));
  }
}

template <int N>
__device__ inline void store_bytes(uint8_t* address, const uint8_t (&in)[N]) {
  if constexpr (N == 1) {
    *address = in[0];
  } else {
    uint32_t words[N / 4] = {};
#pragma unroll
    for (int i = 0; i < N; ++i) words[i / 4] |= static_cast<uint32_t>(in[i]) << (8 * (i % 4));
    if constexpr (N == 4) {
      *reinterpret_cast<uint32_t*>(address) = words[0];
    } else {
      static_assert(N == 8, "1, 4 or 8 bytes");
      const uint2 both = {words[0], words[1]};
      *reinterpret_cast<uint2*>(address) = both;
    }
  }
}

// --- loops ---

// True if each of the pointers is a multiple of 16.
template <class... Pointers>
__host__ __device__ inline bool all_aligned(const Pointers*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) | ...) & (kPackBytes - 1)) == 0;
}

// Number of the calling thread in its grid, and threads in the grid, of one dimension both.
__device__ inline int64_t grid_thread() {
  return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline int64_t grid_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// A number that is part of its type: float v[width];. Not std::integral_constant, whose
// conversion is the host's.
template <int N>
struct Width {
  __host__ __device__ constexpr operator int() const { return N; }  // NOLINT: stands for the number
};

// Covers the elements 0 ... n-1 with body(width, i), all threads of the grid together:
// Width<N> for whole packs starting at element i, Width<1> for the tail, and Width<1> for
// everything unless `aligned`.
template <int N, class Body>
__device__ inline void for_each_pack(int64_t n, bool aligned, const Body& body) {
  const int64_t packs = aligned ? n / N : 0;
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    body(Width<N>{}, i * N);
  }
  for (int64_t i = packs * N + grid_thread(); i < n; i += grid_threads()) {
    body(Width<1>{}, i);
  }
}

// Blocks for for_each_pack: one pack per thread, up to a grid that is full on
// any device and still loops.
template <int N>
int64_t pack_blocks(int64_t n, int threads) {
  constexpr int64_t kMaxBlocks = 1 << 16;
  const int64_t blocks = blocks_for(n, int64_t{N} * threads);
  return blocks < kMaxBlocks ? blocks : kMaxBlocks;
}

}  // namespace bigbigan
