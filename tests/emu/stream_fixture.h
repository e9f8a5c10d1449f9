// Two streams, an event, pinned memory and the smallest kernels, for tests of what runs when.
#pragma once

#include "kernels/common/launch.cuh"

namespace bigbigan {

struct TwoStreams {
  TwoStreams() {
    check_cuda(cudaStreamCreateWithFlags(&first, cudaStreamNonBlocking), "first stream");
    check_cuda(cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking), "second stream");
    check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
  }
  ~TwoStreams() {
    cudaStreamDestroy(first);
    cudaStreamDestroy(second);
    cudaEventDestroy(event);
  }
  TwoStreams(const TwoStreams&) = delete;
  TwoStreams& operator=(const TwoStreams&) = delete;

  cudaStream_t first = nullptr, second = nullptr;
  cudaEvent_t event = nullptr;
};

struct PinnedFloat {
  PinnedFloat() {
    void* memory = nullptr;
    check_cuda(cudaMallocHost(&memory, sizeof(float)), "cudaMallocHost");
    data = static_cast<float*>(memory);
  }
  ~PinnedFloat() { cudaFreeHost(data); }
  PinnedFloat(const PinnedFloat&) = delete;
  PinnedFloat& operator=(const PinnedFloat&) = delete;

  float* data = nullptr;
};

namespace {

[[maybe_unused]] __global__ void set_kernel(float* y, float value) { *y = value; }
[[maybe_unused]] __global__ void double_kernel(float* y) { *y *= 2; }

}  // namespace

}  // namespace bigbigan
