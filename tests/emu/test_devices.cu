// Devices, memory and errors.
#include <catch2/catch.hpp>
#include <cmath>

#include "tests/emu/device_array.h"
#include "tests/emu/stream_fixture.h"

using namespace bigbigan;

TEST_CASE("eight small devices, of a kind no real card is") {
  int count = 0;
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess);
  CHECK(count == 8);
  CHECK(cudaSetDevice(8) == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaSuccess);
  cudaDeviceProp properties;
  REQUIRE(cudaGetDeviceProperties(&properties, 0) == cudaSuccess);
  CHECK(properties.major == 9);
  int processors = 0;
  CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, 7) == cudaSuccess);
  CHECK(processors == properties.multiProcessorCount);
  int blocks = 0;
  const auto kernel = reinterpret_cast<const void*>(&set_kernel);
  CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, 256, 0) == cudaSuccess);
  CHECK(blocks == 8);
  CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, 256, 100 * 1024) ==
        cudaSuccess);
  CHECK(blocks == 2);
}

TEST_CASE("new memory holds NaN, is counted, and knows where it lies") {
  size_t before = 0, after = 0, total = 0;
  cudaMemGetInfo(&before, &total);
  DeviceArray<float> x(1000);
  cudaMemGetInfo(&after, &total);
  CHECK(before - after == 4000);
  for (const float value : x.host()) REQUIRE(std::isnan(value));
  cudaPointerAttributes attributes;
  cudaPointerGetAttributes(&attributes, x.data() + 999);
  CHECK(attributes.type == cudaMemoryTypeDevice);
  cudaPointerGetAttributes(&attributes, x.data() + 1000);
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
  const PinnedFloat pinned;
  cudaPointerGetAttributes(&attributes, pinned.data);
  CHECK(attributes.type == cudaMemoryTypeHost);
}

TEST_CASE("what does not fit or belong is refused") {
  void* memory = nullptr;
  CHECK(cudaMalloc(&memory, size_t{5} << 30) == cudaErrorMemoryAllocation);
  CHECK(memory == nullptr);
  CHECK(cudaMalloc(&memory, 0) == cudaSuccess);
  CHECK(cudaFree(nullptr) == cudaSuccess);
  float on_host[4] = {};
  CHECK(cudaFree(on_host) == cudaErrorInvalidValue);
  DeviceArray<float> x(4);
  CHECK(cudaFree(x.data() + 1) == cudaErrorInvalidValue);
  CHECK(cudaFreeHost(x.data()) == cudaErrorInvalidValue);
  CHECK(cudaMemset(x.data() + 1, 0, 16) == cudaErrorInvalidValue);
  CHECK(cudaMemset(on_host, 0, 16) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(x.data() + 2, on_host, 12, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpy(x.data(), on_host, 4, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidValue);
  cudaGetLastError();
}

TEST_CASE("a stream belongs to the device it was made on") {
  TwoStreams s;
  DeviceArray<float> x(1);
  cudaSetDevice(1);
  CHECK_THROWS_WITH(launch(set_kernel, 1, 1, 0, s.first, x.data(), 1.0f),
                    Catch::Contains("cudaErrorInvalidResourceHandle"));
  cudaEvent_t event = nullptr;
  cudaEventCreate(&event);
  CHECK(cudaEventRecord(event, s.first) == cudaErrorInvalidResourceHandle);
  cudaEventDestroy(event);
  cudaSetDevice(0);
  cudaGetLastError();
}

TEST_CASE("a failed call is an Error that names it") {
  CHECK_THROWS_WITH(check_cuda(cudaSetDevice(99), "cudaSetDevice(99)"),
                    "cudaSetDevice(99): cudaErrorInvalidDevice (invalid device ordinal)");
  CHECK(cudaGetLastError() == cudaSuccess);
}

// Run by itself with EMU_DEVICES=0.
TEST_CASE("a machine without a device", "[.no_device]") {
  int count = 1;
  CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice);
  CHECK(count == 0);
  CHECK(cudaSetDevice(0) == cudaErrorNoDevice);
  CHECK(cudaGetLastError() == cudaErrorNoDevice);
  void* memory = nullptr;
  CHECK(cudaMalloc(&memory, 4) == cudaErrorNoDevice);
  cudaStream_t stream = nullptr;
  CHECK(cudaStreamCreate(&stream) == cudaErrorNoDevice);
  cudaDeviceProp properties;
  CHECK(cudaGetDeviceProperties(&properties, 0) == cudaErrorNoDevice);
  CHECK_THROWS_WITH(launch(set_kernel, 1, 1, 0, nullptr, nullptr, 1.0f),
                    Catch::Contains("cudaErrorNoDevice"));
}
