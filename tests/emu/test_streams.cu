// Streams and events: what is ordered, what a query says, what the null stream waits for. True of
// lazy and eager streams.
#include <catch2/catch.hpp>
#include <thread>

#include "tests/emu/device_array.h"
#include "tests/emu/stream_fixture.h"

using namespace bigbigan;

TEST_CASE("work of one stream runs in order") {
  TwoStreams s;
  DeviceArray<float> x(1);
  launch(set_kernel, 1, 1, 0, s.first, x.data(), 1.0f);
  for (int i = 0; i < 10; ++i) launch(double_kernel, 1, 1, 0, s.first, x.data());
  check_cuda(cudaStreamSynchronize(s.first), "synchronise");
  CHECK(x.host()[0] == 1024);
}

TEST_CASE("an event orders two streams, in both directions") {
  TwoStreams s;
  DeviceArray<float> x(1);
  for (int i = 0; i < 3; ++i) {
    launch(set_kernel, 1, 1, 0, s.first, x.data(), 1.0f);
    cudaEventRecord(s.event, s.first);
    cudaStreamWaitEvent(s.second, s.event);
    launch(double_kernel, 1, 1, 0, s.second, x.data());
    cudaEventRecord(s.event, s.second);  // the wait above keeps the record it was made for
    cudaStreamWaitEvent(s.first, s.event);
  }
  launch(double_kernel, 1, 1, 0, s.first, x.data());
  cudaStreamSynchronize(s.first);
  CHECK(x.host()[0] == 4);
}

TEST_CASE("waiting for an event runs no more than what precedes it") {
  TwoStreams s;
  DeviceArray<float> x(1);
  PinnedFloat seen;
  launch(set_kernel, 1, 1, 0, s.first, x.data(), 3.0f);
  cudaMemcpyAsync(seen.data, x.data(), sizeof(float), cudaMemcpyDeviceToHost, s.first);
  cudaEventRecord(s.event, s.first);
  launch(set_kernel, 1, 1, 0, s.first, x.data(), 4.0f);
  check_cuda(cudaEventSynchronize(s.event), "synchronise");
  CHECK(*seen.data == 3);
  cudaStreamSynchronize(s.first);
  CHECK(x.host()[0] == 4);
}

TEST_CASE("an event that was never recorded counts as done") {
  TwoStreams s;
  CHECK(cudaEventQuery(s.event) == cudaSuccess);
  CHECK(cudaEventSynchronize(s.event) == cudaSuccess);
  CHECK(cudaStreamWaitEvent(s.first, s.event) == cudaSuccess);
}

TEST_CASE("an event may be destroyed while a stream waits for it") {
  TwoStreams s;
  DeviceArray<float> x(1);
  cudaEvent_t brief = nullptr;
  cudaEventCreate(&brief);
  launch(set_kernel, 1, 1, 0, s.first, x.data(), 5.0f);
  cudaEventRecord(brief, s.first);
  cudaStreamWaitEvent(s.second, brief);
  cudaEventDestroy(brief);
  launch(double_kernel, 1, 1, 0, s.second, x.data());
  cudaStreamSynchronize(s.second);
  CHECK(x.host()[0] == 10);
}

TEST_CASE("a loop that polls comes to an end") {
  TwoStreams s;
  DeviceArray<float> x(1);
  launch(set_kernel, 1, 1, 0, s.first, x.data(), 5.0f);
  launch(double_kernel, 1, 1, 0, s.first, x.data());
  cudaEventRecord(s.event, s.first);
  while (cudaEventQuery(s.event) == cudaErrorNotReady) cudaGetLastError();
  CHECK(x.host()[0] == 10);
  while (cudaStreamQuery(s.first) == cudaErrorNotReady) cudaGetLastError();
}

TEST_CASE("another thread's query only looks; its synchronisation waits") {
  TwoStreams s;
  DeviceArray<float> x(1);
  launch(set_kernel, 1, 1, 0, s.first, x.data(), 5.0f);
  cudaEventRecord(s.event, s.first);
  cudaError_t looks[3] = {}, waited = cudaErrorUnknown;
  std::thread([&] {
    for (cudaError_t& look : looks) look = cudaEventQuery(s.event);
    cudaStreamSynchronize(s.first);
    waited = cudaEventQuery(s.event);
  }).join();
  CHECK(looks[0] == looks[1]);
  CHECK(looks[0] == looks[2]);
  CHECK(waited == cudaSuccess);
  CHECK(x.host()[0] == 5);
}

TEST_CASE("the null stream waits for blocking streams only") {
  cudaStream_t blocking = nullptr;
  cudaStreamCreate(&blocking);
  DeviceArray<float> x(1);
  launch(set_kernel, 1, 1, 0, blocking, x.data(), 5.0f);
  launch(double_kernel, 1, 1, 0, nullptr, x.data());
  CHECK(x.host()[0] == 10);
  cudaStreamDestroy(blocking);
}

TEST_CASE("a pageable source may change after the call, a pageable target is complete") {
  TwoStreams s;
  DeviceArray<float> x(1);
  float value = 6;
  cudaMemcpyAsync(x.data(), &value, sizeof value, cudaMemcpyHostToDevice, s.first);
  value = 7;
  float found = 0;
  cudaMemcpyAsync(&found, x.data(), sizeof found, cudaMemcpyDeviceToHost, s.first);
  CHECK(found == 6);
}

TEST_CASE("fills and copies between device buffers are in stream order") {
  TwoStreams s;
  DeviceArray<float> x(4), y(4);
  launch(set_kernel, 1, 1, 0, s.first, x.data(), 5.0f);
  cudaMemsetAsync(x.data() + 1, 0, 3 * sizeof(float), s.first);
  cudaMemcpyAsync(y.data(), x.data(), 4 * sizeof(float), cudaMemcpyDeviceToDevice, s.first);
  cudaDeviceSynchronize();
  CHECK(y.host() == std::vector<float>{5, 0, 0, 0});
}

TEST_CASE("elapsed time needs two records that are done, with timing") {
  TwoStreams s;
  cudaEvent_t start = nullptr, end = nullptr;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  float ms = -1;
  CHECK(cudaEventElapsedTime(&ms, start, end) == cudaErrorInvalidResourceHandle);
  cudaEventRecord(start, s.first);
  cudaEventRecord(end, s.first);
  cudaEventSynchronize(end);
  CHECK(cudaEventElapsedTime(&ms, start, end) == cudaSuccess);
  CHECK(ms >= 0);
  cudaEventRecord(s.event, s.first);  // made without timing
  cudaEventSynchronize(s.event);
  CHECK(cudaEventElapsedTime(&ms, start, s.event) == cudaErrorInvalidResourceHandle);
  cudaGetLastError();
  cudaEventDestroy(start);
  cudaEventDestroy(end);
}

TEST_CASE("threads with streams of their own do not disturb each other") {
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([t] {
      check_cuda(cudaSetDevice(t), "cudaSetDevice");
      TwoStreams s;
      DeviceArray<float> x(1);
      for (int i = 0; i < 20; ++i) {
        launch(set_kernel, 1, 1, 0, s.first, x.data(), static_cast<float>(t + i));
        launch(double_kernel, 1, 1, 0, s.first, x.data());
        cudaStreamSynchronize(s.first);
        if (x.host()[0] != static_cast<float>(2 * (t + i))) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}
