// PTX instructions, each with its meaning in C++ in the same function: what g++ compiles for an
// emulated device, and the definition of the one that nvcc compiles.
#pragma once

#include <cstdint>

#include "kernels/common/dtype.h"
#include "kernels/common/launch.cuh"

namespace bigbigan {

// Two floats rounded to nearest even as bf16, `low` in the lower half. The same bits as bf16{x}.
__device__ inline uint32_t round_to_bf16x2(float low, float high) {
#ifdef __CUDACC__
  uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
#else
  return static_cast<uint32_t>(bf16(low).bits) | static_cast<uint32_t>(bf16(high).bits) << 16;
#endif
}

// Writes four words in one access; `to` is a multiple of 16. For where nvcc splits a plain store
// into its words.
__device__ inline void store_16(void* to, const uint4& words) {
#ifdef __CUDACC__
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(words.x), "r"(words.y),
               "r"(words.z), "r"(words.w)
               : "memory");
#else
  *static_cast<uint4*>(to) = words;
#endif
}

// Starts to copy 16 bytes from global to shared memory; both addresses are multiples of 16. The
// thread that copied sees them after cp_async_wait_all, the others after a barrier behind that.
__device__ inline void cp_async_16(void* shared, const void* global) {
#ifdef __CUDACC__
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
#else
  emu::defer([=] { *static_cast<uint4*>(shared) = *static_cast<const uint4*>(global); });
#endif
}

// Waits for all copies that this thread has started.
__device__ inline void cp_async_wait_all() {
#ifdef __CUDACC__
  asm volatile("cp.async.wait_all;" ::: "memory");
#else
  emu::run_deferred();
#endif
}

// Note [Fragments]: the 16x16 matrix A, the 16x8 matrix B and the 16x8 sums D of an mma lie spread
// over the warp. With row = lane / 4 and column = 2 (lane % 4), a word holding two bf16 of
// neighbouring k, the lower half first:
//   a[0] = A[row][column...]      a[1] = A[row + 8][column...]
//   a[2] = A[row][column + 8...]  a[3] = A[row + 8][column + 8...]
//   b[0] = B[column...][row]      b[1] = B[column + 8...][row]
//   d[0], d[1] = D[row][column, column + 1]      d[2], d[3] = D[row + 8][column, column + 1]

// d += A B on the tensor cores, bf16 to f32; called by all lanes of a warp.
__device__ inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  uint32_t all_a[4][kWarp], all_b[2][kWarp];
  const auto gather = [](uint32_t word, uint32_t(&all)[kWarp]) {
    const uint64_t* words = emu::warp_exchange(kFullMask, word, emu::Site::here());
    for (int i = 0; i < kWarp; ++i) all[i] = static_cast<uint32_t>(words[i]);
  };
  for (int i = 0; i < 4; ++i) gather(a[i], all_a[i]);
  for (int i = 0; i < 2; ++i) gather(b[i], all_b[i]);
  const auto half = [](uint32_t word, int i) {
    return __uint_as_float(i == 0 ? word << 16 : word & 0xffff0000);
  };
  const int lane = static_cast<int>(emu::lane());
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4, column = 2 * (lane % 4) + i % 2, upper = i / 2;
    for (int k = 0; k < 16; ++k) {
      const int k_lane = k % 8 / 2, k_word = k / 8;
      d[i] += half(all_a[upper + 2 * k_word][4 * row + k_lane], k % 2) *
              half(all_b[k_word][4 * column + k_lane], k % 2);
    }
  }
#endif
}

// Sixteen rows of sixteen bf16 in shared memory, `stride` elements apart and each a multiple of 16
// bytes, as the operand A of an mma, words a[0] ... a[3]. As operands B, of which they are the rows
// n: those of the first eight are {a[0], a[2]}, of the others {a[1], a[3]}. With kTransposed, of
// which they are the rows k: those of the first eight columns {a[0], a[1]}, of the others {a[2],
// a[3]}. Called by all lanes of a warp.
template <bool kTransposed>
__device__ inline void load_16x16(const bf16* rows, int stride, uint32_t (&words)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const bf16* row = rows + lane % 16 * stride + lane / 16 * 8;
#ifdef __CUDACC__
  const auto from = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (kTransposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(from)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(from)
                 : "memory");
  }
#else
  // Lane 8 i + r names row r of the i-th 8x8 matrix, of which a lane gets two neighbours in a row,
  // or in a column.
  const uint64_t* addresses =
      emu::warp_exchange(kFullMask, reinterpret_cast<uint64_t>(row), emu::Site::here());
  for (int i = 0; i < 4; ++i) {
    uint32_t halves[2];
    for (int k = 0; k < 2; ++k) {
      const int along = lane % 4 * 2 + k, across = lane / 4;
      const int r = kTransposed ? along : across, column = kTransposed ? across : along;
      halves[k] = reinterpret_cast<const bf16*>(addresses[8 * i + r])[column].bits;
    }
    words[i] = halves[0] | halves[1] << 16;
  }
#endif
}

}  // namespace bigbigan
