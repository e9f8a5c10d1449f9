// The counter itself, on patterns whose requests are known.
#include <catch2/catch.hpp>

#include "kernels/common/pack.cuh"
#include "tests/emu/device_array.h"
#include "tests/emu/traffic/counter.h"

using namespace bigbigan;

namespace {

constexpr int kTile = 32;

// y[i] = x[i * stride], by a warp
__global__ void strided_kernel(const float* x, int stride, float* y) {
  y[threadIdx.x] = x[threadIdx.x * stride];
}

__global__ void packed_kernel(const bf16* x, float* y) {
  float v[kPackElems<bf16>];
  load(x + threadIdx.x * kPackElems<bf16>, v);
  store(y + threadIdx.x * kPackElems<bf16>, v);
}

__global__ void broadcast_kernel(const float* x, float* y) { y[threadIdx.x] = *x; }

// Rows of the loop are requests of their own, and so is what some lanes do alone.
__global__ void loop_kernel(const float* x, int rows, float* y) {
  float sum = threadIdx.x < 8 ? y[threadIdx.x] : 0.0f;
  for (int r = 0; r < rows; ++r) sum += x[r * kWarp + threadIdx.x];
  y[threadIdx.x] = sum;
}

__global__ void atomic_kernel(unsigned* count) { atomicAdd(count, 1u); }

// Writes rows of a tile and reads columns of it.
template <int kRow>
__global__ void transpose_kernel(float* y) {
  GPU_SHARED(float, tile, [kTile][kRow]);
  for (int r = 0; r < kTile; ++r) tile[r][threadIdx.x] = static_cast<float>(r);
  __syncwarp();
  for (int r = 0; r < kTile; ++r) y[r * kTile + threadIdx.x] = tile[threadIdx.x][r];
}

// 16 bytes per lane, rows `stride` floats apart.
__global__ void shared_packs_kernel(int stride, float* y) {
  GPU_SHARED(float, tile, [kTile * 40]);
  const float v[4] = {1, 2, 3, 4};
  store(tile + threadIdx.x * stride, v);
  __syncwarp();
  y[threadIdx.x] = 0;
}

// What one warp asks for.
template <class Kernel, class... Args>
emu::KernelTraffic of_warp(Kernel* kernel, const Args&... args) {
  const auto kernels = emu::count_traffic([&] {
    launch(kernel, 1, kWarp, 0, nullptr, args...);
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  });
  REQUIRE(kernels.size() == 1);
  CHECK(kernels[0].launches == 1);
  return kernels[0];
}

emu::Requests of_kind(const emu::KernelTraffic& traffic, bool is_shared, bool writes) {
  emu::Requests sum;
  for (const auto& [instruction, r] : traffic.requests) {
    if (instruction.is_shared == is_shared && instruction.writes == writes) sum += r;
  }
  return sum;
}

}  // namespace

TEST_CASE("neighbours share sectors, strides leave gaps") {
  const DeviceArray<float> x(32 * kWarp), y(kWarp);
  for (const auto& [stride, sectors] : {std::pair{1, 4}, {2, 8}, {3, 12}, {8, 32}, {32, 32}}) {
    INFO(stride);
    const auto traffic = of_warp(strided_kernel, x.data(), stride, y.data());
    const emu::Requests read = of_kind(traffic, false, false);
    CHECK(read.count == 1);
    CHECK(read.bytes == 128);
    CHECK(read.sectors == sectors);
    CHECK(traffic.unique_read == 128);
    CHECK(of_kind(traffic, false, true).sectors == 4);
    CHECK(traffic.unique_written == 128);
  }
  // One element off: a sector more.
  CHECK(of_kind(of_warp(strided_kernel, x.data() + 1, 1, y.data()), false, false).sectors == 5);
}

TEST_CASE("16 bytes are one access") {
  const DeviceArray<bf16> x(8 * kWarp);
  const DeviceArray<float> y(8 * kWarp);
  const auto traffic = of_warp(packed_kernel, x.data(), y.data());
  CHECK(of_kind(traffic, false, false).count == 1);
  CHECK(of_kind(traffic, false, false).bytes == 512);
  CHECK(of_kind(traffic, false, false).sectors == 16);
  // Two packs of f32 side by side: each request meets half of every sector.
  CHECK(of_kind(traffic, false, true).count == 2);
  CHECK(of_kind(traffic, false, true).bytes == 1024);
  CHECK(of_kind(traffic, false, true).sectors == 64);
  CHECK(traffic.unique_written == 1024);
}

TEST_CASE("a broadcast is four bytes of a sector") {
  const DeviceArray<float> x(1), y(kWarp);
  const emu::Requests read = of_kind(of_warp(broadcast_kernel, x.data(), y.data()), false, false);
  CHECK(read.count == 1);
  CHECK(read.bytes == 4);
  CHECK(read.sectors == 1);
}

TEST_CASE("the rounds of a loop are requests") {
  const DeviceArray<float> x(5 * kWarp), y(kWarp);
  const auto traffic = of_warp(loop_kernel, x.data(), 5, y.data());
  CHECK(of_kind(traffic, false, false).count == 6);
  CHECK(of_kind(traffic, false, false).sectors == 5 * 4 + 1);
  CHECK(traffic.unique_read == 5 * 128 + 32);
}

TEST_CASE("an atomic is a write") {
  const DeviceArray<unsigned> count(std::vector<unsigned>{0});
  const auto traffic = of_warp(atomic_kernel, count.data());
  CHECK(of_kind(traffic, false, true).count == 1);
  CHECK(of_kind(traffic, false, true).bytes == 4);
  CHECK(count.host()[0] == kWarp);
}

TEST_CASE("different words of one bank come one after the other") {
  const DeviceArray<float> y(kTile * kTile);
  const auto square = of_warp(transpose_kernel<kTile>, y.data());
  const auto padded = of_warp(transpose_kernel<kTile + 1>, y.data());
  CHECK(of_kind(square, true, true).passes == kTile);
  CHECK(of_kind(square, true, false).passes == kTile * kTile);
  CHECK(of_kind(square, true, false).least_passes == kTile);
  CHECK(of_kind(padded, true, false).passes == kTile);
  // A quarter of the warp at a time: rows of 36 floats are free of conflicts, rows of 40 meet in
  // pairs, rows of 32 all.
  for (const auto& [stride, passes] : {std::pair{4, 4}, {36, 4}, {40, 8}, {32, 32}}) {
    INFO(stride);
    CHECK(of_kind(of_warp(shared_packs_kernel, stride, y.data()), true, true).passes == passes);
  }
}
