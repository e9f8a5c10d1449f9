// Blocks that meet in global memory: they have no order but what fences and atomics give.
#include "tests/emu/selftest/rows.h"

using namespace bigbigan;

namespace selftest {
namespace {

constexpr int kThreads = 64;

__global__ void count_kernel(int* count, bool bug) {
  if (threadIdx.x != 0) return;
  if (bug) {
    *count += 1;
  } else {
    atomicAdd(count, 1);
  }
}

void add_without_atomic(bool bug) {
  DeviceArray<int> count(std::vector<int>{0});
  launch(count_kernel, 8, kThreads, 0, nullptr, count.data(), bug);
  expect(count.host(), {8});
}

// The last block to finish adds what all have left.
__global__ void last_block_kernel(int* partial, unsigned* finished, int* total, bool bug) {
  GPU_SHARED(bool, last, [1]);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
    if (!bug) __threadfence();
    last[0] = atomicInc(finished, gridDim.x - 1) == gridDim.x - 1;
    if (!bug) __threadfence();
  }
  __syncthreads();
  if (!last[0] || threadIdx.x != 0) return;
  *total = 0;
  for (unsigned i = 0; i < gridDim.x; ++i) *total += partial[i];
}

void last_block_without_fence(bool bug) {
  DeviceArray<int> partial(8), total(1);
  DeviceArray<unsigned> finished(std::vector<unsigned>{0});
  for (int launches = 0; launches < 2; ++launches) {  // the counter starts again by itself
    launch(last_block_kernel, 8, kThreads, 0, nullptr, partial.data(), finished.data(),
           total.data(), bug);
    expect(total.host(), {36});
  }
}

__global__ void chain_kernel(int* y, bool bug) {
  const int i = static_cast<int>(blockIdx.x);
  if (threadIdx.x == 0) y[i] = bug && i > 0 ? y[i - 1] + 1 : i;
}

void block_reads_another(bool bug) {
  DeviceArray<int> y(8);
  launch(chain_kernel, 8, kThreads, 0, nullptr, y.data(), bug);
  expect(y.host(), {0, 1, 2, 3, 4, 5, 6, 7});
}

// Blocks `first` and `second`, by number, write the same element.
__global__ void same_element_kernel(int* y, unsigned first, unsigned second) {
  if (threadIdx.x != 0) return;
  const unsigned number = blockIdx.x + gridDim.x * blockIdx.y;
  y[number == second ? first : number] = 5;
}

void race_two_apart(bool bug) {
  DeviceArray<int> y(std::vector<int>(3, 5));
  launch(same_element_kernel, 3, kThreads, 0, nullptr, y.data(), 0u, bug ? 2u : 0u);
  expect(y.host(), {5, 5, 5});
}

// Block 1 ends a row of the grid, block 2 begins the next.
void race_across_row_end(bool bug) {
  DeviceArray<int> y(std::vector<int>(4, 5));
  launch(same_element_kernel, {2, 2}, kThreads, 0, nullptr, y.data(), 1u, bug ? 2u : 1u);
  expect(y.host(), {5, 5, 5, 5});
}

}  // namespace

const std::vector<Row> kBlockRows = {{"add_without_atomic", add_without_atomic},
                                     {"last_block_without_fence", last_block_without_fence},
                                     {"block_reads_another", block_reads_another},
                                     {"race_two_apart", race_two_apart},
                                     {"race_across_row_end", race_across_row_end}};

}  // namespace selftest
