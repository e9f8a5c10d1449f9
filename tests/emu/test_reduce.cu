// Reductions over warps and blocks against double precision, and that all
// threads get the same bits.
#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/common/reduce.cuh"
#include "tests/emu/device_array.h"

using namespace bigbigan;

namespace {

struct Reduced {
  float sum, max;
  Moments moments;
};

// All threads write what they got.
__global__ void block_kernel(const float* x, int n, Reduced* out) {
  const int i = static_cast<int>(threadIdx.x);
  float sum = 0, max = -INFINITY;
  Moments moments{0, 0, 0};
  for (int j = i; j < n; j += static_cast<int>(blockDim.x)) {
    sum += x[j];
    max = Larger{}(max, x[j]);
    add_value(moments, x[j]);
  }
  out[i] = {block_sum(sum), block_max(max), block_moments(moments)};
}

__global__ void warp_kernel(const float* x, int n, Reduced* out) {
  const int i = static_cast<int>(threadIdx.x);
  const float value = i < n ? x[i] : 0;
  const Moments moments = i < n ? Moments{1, value, 0} : Moments{0, 0, 0};
  out[i] = {warp_sum(value), warp_max(i < n ? value : -INFINITY), warp_moments(moments)};
}

// The scratch of one call is that of the next: the second must not overwrite what is still read.
__global__ void twice_kernel(const float* x, float* out) {
  const float once = block_sum(x[threadIdx.x]);
  const float twice = block_sum(2 * x[threadIdx.x]);
  out[threadIdx.x] = once + twice;
}

std::vector<float> values(int n) {
  std::vector<float> made(n);
  for (int i = 0; i < n; ++i) made[i] = 1e4f + std::sin(0.7f * static_cast<float>(i + 1));
  return made;
}

void check_reduced(const std::vector<Reduced>& found, const std::vector<float>& x) {
  double sum = 0, max = -INFINITY, m2 = 0;
  for (const float value : x) {
    sum += value;
    max = std::max<double>(max, value);
  }
  const double mean = sum / static_cast<double>(x.size());
  for (const float value : x) m2 += (value - mean) * (value - mean);
  const double eps = std::ldexp(1.0, -23), length = std::sqrt(static_cast<double>(x.size()));
  for (const Reduced& r : found) {
    REQUIRE(std::abs(r.sum - sum) <= eps * length * std::abs(sum));
    REQUIRE(r.max == static_cast<float>(max));
    REQUIRE(r.moments.count == static_cast<float>(x.size()));
    REQUIRE(std::abs(r.moments.mean - mean) <= 2 * eps * mean);
    // Each value is off by half a unit of its last place: 1e4 / 2^24.
    REQUIRE(std::abs(r.moments.m2 - m2) <= 4 * eps * mean * (length * std::sqrt(m2) + 1));
    REQUIRE(std::memcmp(&r, &found[0], sizeof(Reduced)) == 0);
  }
}

}  // namespace

TEST_CASE("reductions over a block of any number of warps and any tail") {
  for (const int threads : {32, 64, 96, 256, 1024}) {
    for (const int n : {1, 3, 31, 33, 255, 3000}) {
      CAPTURE(threads, n);
      const auto x = values(n);
      DeviceArray<float> in(x);
      DeviceArray<Reduced> out(threads);
      launch(block_kernel, 1, threads, 0, nullptr, in.data(), n, out.data());
      check_reduced(out.host(), x);
    }
  }
}

TEST_CASE("reductions over a warp with any tail") {
  for (const int n : {1, 3, 31, 32}) {
    CAPTURE(n);
    const auto x = values(n);
    DeviceArray<float> in(x);
    DeviceArray<Reduced> out(kWarp);
    launch(warp_kernel, 1, kWarp, 0, nullptr, in.data(), n, out.data());
    check_reduced(out.host(), x);
  }
}

TEST_CASE("one reduction may follow another") {
  for (const int threads : {64, 256}) {
    DeviceArray<float> in(std::vector<float>(threads, 1.0f)), out(threads);
    launch(twice_kernel, 1, threads, 0, nullptr, in.data(), out.data());
    for (const float found : out.host()) REQUIRE(found == 3.0f * static_cast<float>(threads));
  }
}

TEST_CASE("moments of nothing are nothing") {
  const Moments none{0, 0, 0}, one{1, 5, 0};
  CHECK(merge(none, none).count == 0);
  CHECK(merge(none, one).mean == 5);
  CHECK(merge(one, none).mean == 5);
}
