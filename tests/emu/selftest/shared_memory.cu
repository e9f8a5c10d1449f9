// Order between the threads of a block that meet in shared memory, and its limits.
#include "kernels/common/ptx.cuh"
#include "tests/emu/selftest/rows.h"

using namespace bigbigan;

namespace selftest {
namespace {

constexpr int kThreads = 128;

// Each thread reads its neighbour's first word, then overwrites its own.
__global__ void reuse_kernel(int* out, bool bug) {
  GPU_SHARED(int, scratch, [kThreads]);
  const int i = static_cast<int>(threadIdx.x), next = (i + 1) % kThreads;
  scratch[i] = i;
  __syncthreads();
  out[i] = scratch[next];
  if (!bug) __syncthreads();
  scratch[i] = 1000 + i;
  __syncthreads();
  out[i] += scratch[next];
}

void scratch_reused(bool bug) {
  DeviceArray<int> out(kThreads);
  launch(reuse_kernel, 1, kThreads, 0, nullptr, out.data(), bug);
  std::vector<int> expected(kThreads);
  for (int i = 0; i < kThreads; ++i) expected[i] = 1000 + 2 * ((i + 1) % kThreads);
  expect(out.host(), expected);
}

__global__ void warp_exchange_kernel(int* out, bool bug) {
  GPU_SHARED(int, words, [kWarp]);
  const int i = static_cast<int>(threadIdx.x);
  words[i] = i;
  if (!bug) __syncwarp();
  out[i] = words[kWarp - 1 - i];
}

void missing_syncwarp(bool bug) {
  DeviceArray<int> out(kWarp);
  launch(warp_exchange_kernel, 1, kWarp, 0, nullptr, out.data(), bug);
  std::vector<int> expected(kWarp);
  for (int i = 0; i < kWarp; ++i) expected[i] = kWarp - 1 - i;
  expect(out.host(), expected);
}

// A shuffle brings the lanes together, but orders no memory.
__global__ void shuffle_kernel(int* out, bool bug) {
  GPU_SHARED(int, words, [kWarp]);
  const int i = static_cast<int>(threadIdx.x);
  words[i] = i;
  const int source = __shfl_xor_sync(kFullMask, i, 1);
  if (!bug) __syncwarp();
  out[i] = words[source];
}

void shuffle_as_fence(bool bug) {
  DeviceArray<int> out(kWarp);
  launch(shuffle_kernel, 1, kWarp, 0, nullptr, out.data(), bug);
  std::vector<int> expected(kWarp);
  for (int i = 0; i < kWarp; ++i) expected[i] = i ^ 1;
  expect(out.host(), expected);
}

// Every block but the first relies on what the one before left behind.
__global__ void leftover_kernel(float* out, bool bug) {
  GPU_SHARED(float, kept, [1]);
  if (blockIdx.x == 0 || !bug) kept[0] = 7;
  out[blockIdx.x] = kept[0];
}

void shared_before_written(bool bug) {
  DeviceArray<float> out(3);
  launch(leftover_kernel, 3, 1, 0, nullptr, out.data(), bug);
  expect(out.host(), std::vector<float>(3, 7.0f));
}

__global__ void async_kernel(const uint4* x, uint4* out, bool bug) {
  GPU_SHARED(uint4, tile, [kWarp]);
  cp_async_16(&tile[threadIdx.x], x + threadIdx.x);
  if (!bug) cp_async_wait_all();
  __syncthreads();
  out[threadIdx.x] = tile[kWarp - 1 - threadIdx.x];
}

void async_copy_without_wait(bool bug) {
  DeviceArray<uint4> x(std::vector<uint4>(kWarp, uint4{1, 2, 3, 4})), out(kWarp);
  launch(async_kernel, 1, kWarp, 0, nullptr, x.data(), out.data(), bug);
  std::vector<int> found;
  for (const uint4& words : out.host()) found.push_back(static_cast<int>(words.w));
  expect(found, std::vector<int>(kWarp, 4));
}

template <int N>
__global__ void static_kernel(float* out) {
  GPU_SHARED(float, first, [N]);
  GPU_SHARED(float, second, [N]);
  first[0] = 1;
  second[0] = 2;
  *out = first[0] + second[0];
}

void too_much_static(bool bug) {
  constexpr int kHalf = 24 * 1024 / sizeof(float);
  DeviceArray<float> out(1);
  launch(bug ? static_kernel<kHalf + 1> : static_kernel<kHalf>, 1, 1, 0, nullptr, out.data());
  expect(out.host(), {3.0f});
}

__global__ void dynamic_kernel(float* out, int n) {
  GPU_DYNAMIC_SHARED(float, words);
  words[n - 1] = 5;
  *out = words[n - 1];
}

void too_much_dynamic(bool bug) {
  const int n = 227 * 1024 / static_cast<int>(sizeof(float)) + (bug ? 1 : 0);
  DeviceArray<float> out(1);
  launch(dynamic_kernel, 1, 1, n * sizeof(float), nullptr, out.data(), n);
  expect(out.host(), {5.0f});
}

}  // namespace

const std::vector<Row> kSharedMemoryRows = {{"scratch_reused", scratch_reused},
                                            {"missing_syncwarp", missing_syncwarp},
                                            {"shuffle_as_fence", shuffle_as_fence},
                                            {"shared_before_written", shared_before_written},
                                            {"async_copy_without_wait", async_copy_without_wait},
                                            {"too_much_static", too_much_static},
                                            {"too_much_dynamic", too_much_dynamic}};

}  // namespace selftest
