// The C++ meaning of the PTX wrappers.
#include <catch2/catch.hpp>

#include "kernels/common/ptx.cuh"
#include "tests/emu/device_array.h"

using namespace bigbigan;

namespace {

constexpr int kM = 16, kN = 8, kK = 16;

__device__ uint32_t two(const bf16* first, const bf16* second) {
  return static_cast<uint32_t>(first->bits) | static_cast<uint32_t>(second->bits) << 16;
}

// d (16, 8) = a (16, 16) b (16, 8), row-major; fragments as in Note [Fragments].
__global__ void mma_kernel(const bf16* a, const bf16* b, float* d) {
  const int row = static_cast<int>(threadIdx.x) / 4,
            column = 2 * (static_cast<int>(threadIdx.x) % 4);
  uint32_t a_words[4], b_words[2];
  for (int i = 0; i < 4; ++i) {
    const bf16* from = a + (row + i % 2 * 8) * kK + column + i / 2 * 8;
    a_words[i] = two(from, from + 1);
  }
  for (int i = 0; i < 2; ++i) {
    const bf16* from = b + (column + i * 8) * kN + row;
    b_words[i] = two(from, from + kN);
  }
  float sums[4] = {0.5f, 0.5f, 0.5f, 0.5f};
  mma_m16n8k16(sums, a_words, b_words);
  for (int i = 0; i < 4; ++i) d[(row + i / 2 * 8) * kN + column + i % 2] = sums[i];
}

// d (16, 16) = a (16, 16) b, b (16, 16) given by its rows k or, transposed, by its rows n.
template <bool kRowsOfK>
__global__ void loaded_kernel(const bf16* a, const bf16* b, float* d) {
  GPU_SHARED(uint16_t, bits, [2 * kM * (kK + 8)]);
  auto* const tiles = reinterpret_cast<bf16(*)[kM][kK + 8]>(bits);
  for (int i = static_cast<int>(threadIdx.x); i < kM * kK; i += kWarp) {
    tiles[0][i / kK][i % kK] = a[i];
    tiles[1][i / kK][i % kK] = b[i];
  }
  __syncwarp();
  uint32_t a_words[4], b_words[4];
  load_16x16<false>(&tiles[0][0][0], kK + 8, a_words);
  load_16x16<kRowsOfK>(&tiles[1][0][0], kK + 8, b_words);
  for (int half = 0; half < 2; ++half) {
    const uint32_t operand[2] = {b_words[kRowsOfK ? 2 * half : half],
                                 b_words[kRowsOfK ? 2 * half + 1 : half + 2]};
    float sums[4] = {};
    mma_m16n8k16(sums, a_words, operand);
    const int row = static_cast<int>(threadIdx.x) / 4,
              column = 2 * (static_cast<int>(threadIdx.x) % 4) + half * kN;
    for (int i = 0; i < 4; ++i) d[(row + i / 2 * 8) * kK + column + i % 2] = sums[i];
  }
}

__global__ void staged_kernel(const uint4* x, uint4* out) {
  GPU_SHARED(uint4, tile, [2][kWarp]);
  cp_async_16(&tile[0][threadIdx.x], x + threadIdx.x);
  cp_async_16(&tile[1][threadIdx.x], x + kWarp + threadIdx.x);
  cp_async_wait_all();
  __syncthreads();
  out[threadIdx.x] = tile[1][kWarp - 1 - threadIdx.x];
  out[kWarp + threadIdx.x] = tile[0][kWarp - 1 - threadIdx.x];
}

}  // namespace

TEST_CASE("mma multiplies a 16x16 by a 16x8 matrix and adds") {
  std::vector<bf16> a(kM * kK), b(kK * kN);
  // Small whole numbers: all sums are exact.
  for (int i = 0; i < kM * kK; ++i) a[i] = bf16(static_cast<float>(i * 7 % 13 - 6));
  for (int i = 0; i < kK * kN; ++i) b[i] = bf16(static_cast<float>(i * 5 % 11 - 5));
  DeviceArray<bf16> a_device(a), b_device(b);
  DeviceArray<float> d(kM * kN);
  launch(mma_kernel, 1, kWarp, 0, nullptr, a_device.data(), b_device.data(), d.data());
  const auto found = d.host();
  for (int m = 0; m < kM; ++m) {
    for (int n = 0; n < kN; ++n) {
      float expected = 0.5f;
      for (int k = 0; k < kK; ++k) {
        expected += static_cast<float>(a[m * kK + k]) * static_cast<float>(b[k * kN + n]);
      }
      CAPTURE(m, n);
      REQUIRE(found[m * kN + n] == expected);
    }
  }
}

TEST_CASE("operands are loaded from rows of shared memory, as they are or transposed") {
  std::vector<bf16> a(kM * kK), b(kM * kK);
  for (int i = 0; i < kM * kK; ++i) {
    a[i] = bf16(static_cast<float>(i * 7 % 13 - 6));
    b[i] = bf16(static_cast<float>(i * 5 % 11 - 5));
  }
  const DeviceArray<bf16> a_device(a), b_device(b);
  for (const bool rows_of_k : {true, false}) {
    DeviceArray<float> d(kM * kK);
    launch(rows_of_k ? loaded_kernel<true> : loaded_kernel<false>, 1, kWarp, 0, nullptr,
           a_device.data(), b_device.data(), d.data());
    const auto found = d.host();
    for (int m = 0; m < kM; ++m) {
      for (int n = 0; n < kK; ++n) {
        float expected = 0;
        for (int k = 0; k < kK; ++k) {
          expected += static_cast<float>(a[m * kK + k]) *
                      static_cast<float>(rows_of_k ? b[k * kK + n] : b[n * kK + k]);
        }
        CAPTURE(m, n, rows_of_k);
        REQUIRE(found[m * kK + n] == expected);
      }
    }
  }
}

TEST_CASE("asynchronous copies have arrived after the wait") {
  std::vector<uint4> x(2 * kWarp);
  for (unsigned i = 0; i < x.size(); ++i) x[i] = {i, i + 1, i + 2, i + 3};
  DeviceArray<uint4> in(x), out(x.size());
  launch(staged_kernel, 1, kWarp, 0, nullptr, in.data(), out.data());
  const auto found = out.host();
  for (unsigned i = 0; i < x.size(); ++i) REQUIRE(found[i].w == x[x.size() - 1 - i].w);
}
