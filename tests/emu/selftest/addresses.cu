// Indices and addresses that are out of bounds, misaligned, stale or not yet written.
#include "kernels/common/pack.cuh"
#include "tests/emu/selftest/rows.h"

using namespace bigbigan;

namespace selftest {
namespace {

__global__ void static_index_kernel(int* out, int i) {
  GPU_SHARED(int, words, [4][8]);
  words[3][i] = 3;
  *out = words[3][i];
}

void past_static_array(bool bug) {
  DeviceArray<int> out(1);
  launch(static_index_kernel, 1, 1, 0, nullptr, out.data(), bug ? 8 : 7);
  expect(out.host(), {3});
}

__global__ void dynamic_index_kernel(char* out, int i) {
  GPU_DYNAMIC_SHARED(char, bytes);
  bytes[i] = 3;
  *out = bytes[i];
}

void past_dynamic_array(bool bug) {
  DeviceArray<char> out(1);
  launch(dynamic_index_kernel, 1, 1, 13, nullptr, out.data(), bug ? 13 : 12);
  expect(out.host(), {char{3}});
}

__global__ void pack_kernel(const float* x, float* y) { Pack<float>::load(x).store(y); }

void misaligned_pack(bool bug) {
  DeviceArray<float> x(std::vector<float>(8, 2.0f)), y(4);
  launch(pack_kernel, 1, 1, 0, nullptr, x.data() + (bug ? 1 : 4), y.data());
  expect(y.host(), std::vector<float>(4, 2.0f));
}

__global__ void fill_kernel(float* y, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kWarp) y[i] = 1;
}

void past_global_buffer(bool bug) {
  DeviceArray<float> y(33);
  launch(fill_kernel, 1, kWarp, 0, nullptr, y.data(), bug ? 34 : 33);
  expect(y.host(), std::vector<float>(33, 1.0f));
}

void used_after_free(bool bug) {
  auto* y = new DeviceArray<float>(33);
  float* data = y->data();
  if (bug) delete y;
  launch(fill_kernel, 1, kWarp, 0, nullptr, data, 33);
  cudaDeviceSynchronize();
  if (!bug) delete y;
}

__global__ void wide_index_kernel(int rows, int columns, int64_t* out, bool bug) {
  *out = bug ? rows * columns : int64_t{rows} * columns;
}

void index_overflow(bool bug) {
  DeviceArray<int64_t> out(1);
  launch(wide_index_kernel, 1, 1, 0, nullptr, 1 << 16, 1 << 16, out.data(), bug);
  expect(out.host(), {int64_t{1} << 32});
}

__global__ void accumulate_kernel(float* y) { *y += 1; }

void global_before_written(bool bug) {
  DeviceArray<float> y(1);
  if (!bug) cudaMemset(y.data(), 0, sizeof(float));
  launch(accumulate_kernel, 1, 1, 0, nullptr, y.data());
  expect(y.host(), {1.0f});
}

}  // namespace

const std::vector<Row> kAddressRows = {{"past_static_array", past_static_array},
                                       {"past_dynamic_array", past_dynamic_array},
                                       {"misaligned_pack", misaligned_pack},
                                       {"past_global_buffer", past_global_buffer},
                                       {"used_after_free", used_after_free},
                                       {"index_overflow", index_overflow},
                                       {"global_before_written", global_before_written}};

}  // namespace selftest
