// Collectives that not all threads reach, or not the same one.
#include "tests/emu/selftest/rows.h"

using namespace bigbigan;

namespace selftest {
namespace {

constexpr int kThreads = 256;

__global__ void branch_shuffle_kernel(int* out, bool bug) {
  const int i = static_cast<int>(threadIdx.x);
  int other = i;
  if (!bug || i % kWarp < 16) other = __shfl_xor_sync(kFullMask, i, 1);
  out[i] = other;
}

void shuffle_in_branch(bool bug) {
  DeviceArray<int> out(kWarp);
  launch(branch_shuffle_kernel, 1, kWarp, 0, nullptr, out.data(), bug);
}

__global__ void branch_barrier_kernel(int* out, bool bug) {
  const int i = static_cast<int>(threadIdx.x);
  if (!bug || i < 128) __syncthreads();
  out[i] = i;
}

void barrier_in_branch(bool bug) {
  DeviceArray<int> out(kThreads);
  launch(branch_barrier_kernel, 1, kThreads, 0, nullptr, out.data(), bug);
}

__global__ void early_return_kernel(int* out, int n, bool bug) {
  const int i = static_cast<int>(threadIdx.x);
  if (bug && i >= n) return;
  __syncthreads();
  if (i < n) out[i] = i;
}

void return_before_barrier(bool bug) {
  DeviceArray<int> out(kThreads);
  launch(early_return_kernel, 1, kThreads, 0, nullptr, out.data(), 200, bug);
}

__global__ void two_barriers_kernel(int* out, bool bug) {
  const int i = static_cast<int>(threadIdx.x);
  if (bug && i < 128) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[i] = i;
}

void two_barriers(bool bug) {
  DeviceArray<int> out(kThreads);
  launch(two_barriers_kernel, 1, kThreads, 0, nullptr, out.data(), bug);
}

__global__ void half_mask_kernel(int* out, bool bug) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < 16 || !bug) out[i] = __shfl_xor_sync(bug ? 0xffff : kFullMask, i, 1);
}

void partial_mask(bool bug) {
  DeviceArray<int> out(kWarp);
  launch(half_mask_kernel, 1, kWarp, 0, nullptr, out.data(), bug);
}

__global__ void mixed_kernel(unsigned* out, bool bug) {
  const unsigned i = threadIdx.x;
  if (bug && i < 16) {
    out[i] = __ballot_sync(kFullMask, 1);
  } else {
    out[i] = __shfl_xor_sync(kFullMask, i, 1);
  }
}

void two_collectives(bool bug) {
  DeviceArray<unsigned> out(kWarp);
  launch(mixed_kernel, 1, kWarp, 0, nullptr, out.data(), bug);
}

// The last warp of 48 threads has 16 lanes.
__global__ void absent_lane_kernel(int* out, int distance) {
  out[threadIdx.x] = __shfl_xor_sync(kFullMask, static_cast<int>(threadIdx.x), distance);
}

void shuffle_from_absent_lane(bool bug) {
  DeviceArray<int> out(48);
  launch(absent_lane_kernel, 1, 48, 0, nullptr, out.data(), bug ? 16 : 8);
}

}  // namespace

const std::vector<Row> kCollectiveRows = {{"shuffle_in_branch", shuffle_in_branch},
                                          {"barrier_in_branch", barrier_in_branch},
                                          {"return_before_barrier", return_before_barrier},
                                          {"two_barriers", two_barriers},
                                          {"partial_mask", partial_mask},
                                          {"two_collectives", two_collectives},
                                          {"shuffle_from_absent_lane", shuffle_from_absent_lane}};

}  // namespace selftest
