// Mistakes of the host: streams, events, pinned memory, leaks.
#include "tests/emu/selftest/rows.h"

using namespace bigbigan;

namespace selftest {
namespace {

struct Streams {
  Streams() {
    for (cudaStream_t& s : stream) cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
    cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    void* memory = nullptr;
    cudaMallocHost(&memory, sizeof(float));
    pinned = static_cast<float*>(memory);
  }
  ~Streams() {
    for (const cudaStream_t s : stream) cudaStreamDestroy(s);
    cudaEventDestroy(event);
    cudaFreeHost(pinned);
  }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  cudaStream_t stream[2];
  cudaEvent_t event = nullptr;
  float* pinned = nullptr;
};

__global__ void add_one_kernel(const float* x, float* y) { *y = *x + 1; }

void missing_event_wait(bool bug) {
  Streams s;
  DeviceArray<float> x(1), y(1);
  *s.pinned = 4;
  cudaMemcpyAsync(x.data(), s.pinned, sizeof(float), cudaMemcpyHostToDevice, s.stream[0]);
  cudaEventRecord(s.event, s.stream[0]);
  if (!bug) cudaStreamWaitEvent(s.stream[1], s.event);
  launch(add_one_kernel, 1, 1, 0, s.stream[1], x.data(), y.data());
  cudaStreamSynchronize(s.stream[1]);
  expect(y.host(), {5.0f});
}

void pinned_overwritten(bool bug) {
  Streams s;
  DeviceArray<float> x(1), y(1);
  *s.pinned = 4;
  cudaMemcpyAsync(x.data(), s.pinned, sizeof(float), cudaMemcpyHostToDevice, s.stream[0]);
  if (!bug) cudaStreamSynchronize(s.stream[0]);
  *s.pinned = 40;
  launch(add_one_kernel, 1, 1, 0, s.stream[0], x.data(), y.data());
  cudaStreamSynchronize(s.stream[0]);
  expect(y.host(), {5.0f});
}

void pinned_read_early(bool bug) {
  Streams s;
  DeviceArray<float> x(std::vector<float>{4}), y(1);
  *s.pinned = 0;
  launch(add_one_kernel, 1, 1, 0, s.stream[0], x.data(), y.data());
  cudaMemcpyAsync(s.pinned, y.data(), sizeof(float), cudaMemcpyDeviceToHost, s.stream[0]);
  if (!bug) cudaStreamSynchronize(s.stream[0]);
  expect({*s.pinned}, std::vector<float>{5});
}

// Must come to an end: nobody but the queries makes the stream run.
void poll_loop(bool) {
  Streams s;
  DeviceArray<float> x(std::vector<float>{4}), y(1);
  launch(add_one_kernel, 1, 1, 0, s.stream[0], x.data(), y.data());
  cudaEventRecord(s.event, s.stream[0]);
  while (cudaEventQuery(s.event) == cudaErrorNotReady) {
  }
  launch(add_one_kernel, 1, 1, 0, s.stream[0], y.data(), x.data());
  while (cudaStreamQuery(s.stream[0]) == cudaErrorNotReady) {
  }
  expect(x.host(), {6.0f});
}

void copy_out_of_bounds(bool bug) {
  DeviceArray<float> x(2);
  const float values[3] = {1, 2, 3};
  check_cuda(cudaMemcpy(x.data(), values, (bug ? 3 : 2) * sizeof(float), cudaMemcpyHostToDevice),
             "cudaMemcpy");
}

void leaked_stream(bool bug) {
  cudaStream_t stream = nullptr;
  cudaStreamCreate(&stream);
  if (!bug) cudaStreamDestroy(stream);
}

void leaked_event(bool bug) {
  cudaEvent_t event = nullptr;
  cudaEventCreate(&event);
  if (!bug) cudaEventDestroy(event);
}

void leaked_memory(bool bug) {
  void* memory = nullptr;
  cudaMalloc(&memory, 100);
  if (!bug) cudaFree(memory);
}

}  // namespace

const std::vector<Row> kHostRows = {{"missing_event_wait", missing_event_wait},
                                    {"pinned_overwritten", pinned_overwritten},
                                    {"pinned_read_early", pinned_read_early},
                                    {"poll_loop", poll_loop},
                                    {"copy_out_of_bounds", copy_out_of_bounds},
                                    {"leaked_stream", leaked_stream},
                                    {"leaked_event", leaked_event},
                                    {"leaked_memory", leaked_memory}};

}  // namespace selftest
