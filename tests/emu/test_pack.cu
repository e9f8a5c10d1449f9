// Packs: the conversions agree with bf16 bit for bit, and for_each_pack touches each element once.
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/common/pack.cuh"
#include "tests/emu/device_array.h"

using namespace bigbigan;

namespace {

constexpr int kThreads = 64;

// Words from all over the range of f32: both zeros, subnormals, infinities, NaN,
// ties of the rounding.
std::vector<float> all_kinds_of_floats() {
  std::vector<float> values;
  for (uint32_t upper = 0; upper < 0x10000; upper += 7) {
    for (const uint32_t lower : {0u, 1u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      values.push_back(std::bit_cast<float>(upper << 16 | lower));
    }
  }
  values.push_back(INFINITY);
  values.push_back(-INFINITY);
  values.push_back(NAN);
  while (values.size() % 8 != 0) values.push_back(1);
  return values;
}

// Eight at a time are two packs of f32 and one of bf16, four are one and a half.
template <int N>
__global__ void round_kernel(const float* x, int64_t n, bf16* by_element, bf16* by_pack) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads())
    by_element[i] = from_float<bf16>(x[i]);
  for_each_pack<N>(n, all_aligned(x, by_pack), [&](auto width, int64_t i) {
    float v[width];
    load(x + i, v);
    store(by_pack + i, v);
  });
}

template <int N>
__global__ void widen_kernel(const bf16* x, int64_t n, float* by_element, float* by_pack) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) by_element[i] = to_float(x[i]);
  for_each_pack<N>(n, all_aligned(x, by_pack), [&](auto width, int64_t i) {
    float v[width];
    load(x + i, v);
    store(by_pack + i, v);
  });
}

// Adds 1 to each element, and counts how many came by in packs.
template <class T>
__global__ void increment_kernel(T* x, int64_t n, int* in_packs) {
  for_each_pack<kPackElems<T>>(n, all_aligned(x), [&](auto width, int64_t i) {
    float v[width];
    load(x + i, v);
    for (float& value : v) value += 1;
    store(x + i, v);
    if (width > 1) atomicAdd(in_packs, int{width});
  });
}

template <class T>
void check_increments(int64_t n, int64_t offset, int64_t blocks) {
  CAPTURE(n, offset, blocks, sizeof(T));
  const int64_t guard = 8;
  DeviceArray<T> x(std::vector<T>(n + offset + guard, T(0.0f)));
  DeviceArray<int> in_packs(std::vector<int>{0});
  launch(increment_kernel<T>, blocks, kThreads, 0, nullptr, x.data() + offset, n, in_packs.data());
  const auto found = x.host();
  for (int64_t i = 0; i < n + offset + guard; ++i) {
    const bool inside = i >= offset && i < offset + n;
    REQUIRE(static_cast<float>(found[i]) == (inside ? 1.0f : 0.0f));
  }
  const bool aligned = offset * sizeof(T) % 16 == 0;
  CHECK(in_packs.host()[0] == (aligned ? n / kPackElems<T> * kPackElems<T> : 0));
}

template <class T>
bool same_bits(const T& a, const T& b) {
  return std::memcmp(&a, &b, sizeof(T)) == 0;
}

}  // namespace

TEMPLATE_TEST_CASE_SIG("rounding to bf16 on the device gives the bits of the host's", "",
                       ((int N), N), 8, 4) {
  const auto values = all_kinds_of_floats();
  const auto n = static_cast<int64_t>(values.size());
  DeviceArray<float> x(values);
  DeviceArray<bf16> by_element(values.size()), by_pack(values.size());
  launch(round_kernel<N>, pack_blocks<N>(n, kThreads), kThreads, 0, nullptr, x.data(), n,
         by_element.data(), by_pack.data());
  const auto element = by_element.host(), pack = by_pack.host();
  for (size_t i = 0; i < values.size(); ++i) {
    CAPTURE(i, values[i]);
    REQUIRE(element[i].bits == bf16(values[i]).bits);
    REQUIRE(pack[i].bits == bf16(values[i]).bits);
  }
}

TEMPLATE_TEST_CASE_SIG("widening bf16 on the device gives the bits of the host's", "", ((int N), N),
                       8, 4) {
  std::vector<bf16> values(0x10000);
  for (size_t i = 0; i < values.size(); ++i) values[i].bits = static_cast<uint16_t>(i);
  const auto n = static_cast<int64_t>(values.size());
  DeviceArray<bf16> x(values);
  DeviceArray<float> by_element(values.size()), by_pack(values.size());
  launch(widen_kernel<N>, pack_blocks<N>(n, kThreads), kThreads, 0, nullptr, x.data(), n,
         by_element.data(), by_pack.data());
  const auto element = by_element.host(), pack = by_pack.host();
  for (size_t i = 0; i < values.size(); ++i) {
    CAPTURE(i);
    REQUIRE(same_bits(element[i], static_cast<float>(values[i])));
    REQUIRE(same_bits(pack[i], static_cast<float>(values[i])));
  }
}

TEST_CASE("every element is visited once, whatever the tail, the alignment and the grid") {
  for (const int64_t n : {0, 1, 3, 4, 7, 8, 31, 32, 33, 1000}) {
    for (const int64_t offset : {0, 1, 2, 3, 4, 8}) {
      for (const int64_t blocks : {1, 3}) {
        check_increments<float>(n, offset, blocks);
        check_increments<bf16>(n, offset, blocks);
      }
    }
  }
}

TEST_CASE("a pointer that is not aligned counts, whichever it is") {
  alignas(16) float memory[8];
  CHECK(all_aligned(memory, memory + 4));
  CHECK_FALSE(all_aligned(memory, memory + 1));
  CHECK_FALSE(all_aligned(memory + 2, memory));
}

TEST_CASE("a grid for packs covers the tail and has a bound") {
  CHECK(pack_blocks<8>(0, kThreads) == 0);
  CHECK(pack_blocks<8>(1, kThreads) == 1);
  CHECK(pack_blocks<8>(8 * kThreads, kThreads) == 1);
  CHECK(pack_blocks<8>(8 * kThreads + 1, kThreads) == 2);
  CHECK(pack_blocks<8>(int64_t{1} << 40, kThreads) == 65536);
}
