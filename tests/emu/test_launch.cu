// Launches: what is checked, what is skipped, and that blocks and threads are all there.
#include <catch2/catch.hpp>
#include <numeric>

#include "kernels/common/launch.cuh"
#include "tests/emu/device_array.h"

using namespace bigbigan;

namespace {

constexpr int kThreads = 64;

__global__ void number_kernel(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  out[i] = static_cast<int>(i);
}

// Reverses each block's elements by way of shared memory.
__global__ void reverse_kernel(const int* x, int* out) {
  GPU_SHARED(int, kept, [kThreads]);
  const int first = static_cast<int>(blockIdx.x) * kThreads, i = static_cast<int>(threadIdx.x);
  kept[i] = x[first + i];
  __syncthreads();
  out[first + i] = kept[kThreads - 1 - i];
}

__global__ void narrow_kernel(int n, int* out) { *out = n; }

}  // namespace

TEST_CASE("every thread of every block runs once, in three dimensions") {
  DeviceArray<int> out(3 * 4 * 5 * 2 * 3 * 4);
  launch(number_kernel, {3, 4, 5}, {2, 3, 4}, 0, nullptr, out.data());
  const auto found = out.host();
  for (size_t i = 0; i < found.size(); ++i) REQUIRE(found[i] == static_cast<int>(i));
}

TEST_CASE("a barrier separates writing and reading shared memory") {
  std::vector<int> x(5 * kThreads);
  std::iota(x.begin(), x.end(), 0);
  DeviceArray<int> in(x), out(x.size());
  launch(reverse_kernel, 5, kThreads, 0, nullptr, in.data(), out.data());
  const auto found = out.host();
  for (int i = 0; i < 5 * kThreads; ++i) {
    REQUIRE(found[i] == i / kThreads * kThreads + kThreads - 1 - i % kThreads);
  }
}

TEST_CASE("an empty grid is skipped, an impossible one refused with its place") {
  DeviceArray<int> out(1);
  launch(number_kernel, 0, 1, 0, nullptr, out.data());
  launch(number_kernel, {1, 0}, 1, 0, nullptr, out.data());
  CHECK_THROWS_WITH(launch(number_kernel, int64_t{1} << 31, 1, 0, nullptr, out.data()),
                    Catch::Contains("test_launch.cu") && Catch::Contains("2147483648"));
  CHECK_THROWS_WITH(launch(number_kernel, {1, 65536}, 1, 0, nullptr, out.data()),
                    Catch::Contains("65536"));
  CHECK_THROWS_WITH(launch(number_kernel, -1, 1, 0, nullptr, out.data()), Catch::Contains("(-1,"));
  CHECK_THROWS_WITH(launch(number_kernel, 1, 1025, 0, nullptr, out.data()),
                    Catch::Contains("1025"));
  CHECK_THROWS_WITH(launch(number_kernel, 1, {32, 33}, 0, nullptr, out.data()),
                    Catch::Contains("(32, 33, 1)"));
  CHECK_THROWS_WITH(launch(number_kernel, 1, {1, 1, 65}, 0, nullptr, out.data()),
                    Catch::Contains("65"));
  CHECK_THROWS_WITH(launch(number_kernel, 1, 0, 0, nullptr, out.data()), Catch::Contains("(0,"));
}

TEST_CASE("an integer argument that does not fit its parameter is refused") {
  DeviceArray<int> out(1);
  launch(narrow_kernel, 1, 1, 0, nullptr, int64_t{7}, out.data());
  CHECK(out.host()[0] == 7);
  CHECK_THROWS_WITH(launch(narrow_kernel, 1, 1, 0, nullptr, int64_t{1} << 31, out.data()),
                    Catch::Contains("2147483648"));
  CHECK_THROWS_AS(launch(narrow_kernel, 1, 1, 0, nullptr, 0x80000000u, out.data()), Error);
}

TEST_CASE("shared memory is granted up to the device's limit") {
  DeviceArray<int> out(1);
  launch(narrow_kernel, 1, 1, 227 * 1024, nullptr, 1, out.data());
  CHECK(out.host()[0] == 1);
  CHECK_THROWS_WITH(launch(narrow_kernel, 1, 1, 227 * 1024 + 1, nullptr, 1, out.data()),
                    Catch::Contains("cudaErrorInvalidValue"));
  CHECK(cudaGetLastError() == cudaSuccess);  // reported once
}
