// Mistakes while a stream is captured, and edges that a graph lacks.
#include <functional>
#include <thread>

#include "tests/emu/selftest/rows.h"

using namespace bigbigan;

namespace selftest {
namespace {

__global__ void set_kernel(float* y, float value) { *y = value; }
__global__ void add_one_kernel(const float* x, float* y) { *y = *x + 1; }

// Captures what `body` enqueues, beginning on the first of two streams, and replays it.
void captured(cudaStreamCaptureMode mode,
              const std::function<void(cudaStream_t, cudaStream_t, cudaEvent_t)>& body) {
  cudaStream_t stream = nullptr, other = nullptr;
  cudaEvent_t event = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  check_cuda(cudaStreamBeginCapture(stream, mode), "begin");
  body(stream, other, event);
  check_cuda(cudaStreamEndCapture(stream, &graph), "end of capture");
  check_cuda(cudaGraphInstantiate(&exec, graph), "instantiate");
  check_cuda(cudaGraphLaunch(exec, stream), "launch of the graph");
  check_cuda(cudaStreamSynchronize(stream), "synchronise");
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  cudaEventDestroy(event);
  cudaStreamDestroy(stream);
  cudaStreamDestroy(other);
}

void malloc_in_capture(bool bug) {
  void* memory = nullptr;
  captured(cudaStreamCaptureModeGlobal, [&](auto...) {
    if (bug) check_cuda(cudaMalloc(&memory, 100), "cudaMalloc");
  });
}

void wait_in_capture(bool bug) {
  captured(cudaStreamCaptureModeGlobal, [&](cudaStream_t stream, auto...) {
    if (bug) check_cuda(cudaStreamSynchronize(stream), "synchronise");
  });
}

// A watchdog polls an event while another thread captures: allowed in thread-local mode only.
void query_during_global_capture(bool bug) {
  cudaEvent_t watched = nullptr;
  cudaEventCreate(&watched);
  captured(bug ? cudaStreamCaptureModeGlobal : cudaStreamCaptureModeThreadLocal, [&](auto...) {
    std::thread([&] { static_cast<void>(cudaEventQuery(watched)); }).join();
  });
  cudaEventDestroy(watched);
}

// The second stream's kernel needs the first one's; with the bug it only begins
// where the capture does.
void missing_edge(bool bug) {
  DeviceArray<float> x(1), y(1);
  captured(cudaStreamCaptureModeThreadLocal,
           [&](cudaStream_t stream, cudaStream_t other, cudaEvent_t event) {
             if (bug) cudaEventRecord(event, stream);
             launch(set_kernel, 1, 1, 0, stream, x.data(), 4.0f);
             if (!bug) cudaEventRecord(event, stream);
             cudaStreamWaitEvent(other, event);
             launch(add_one_kernel, 1, 1, 0, other, x.data(), y.data());
             cudaEventRecord(event, other);
             cudaStreamWaitEvent(stream, event);
           });
  expect(y.host(), {5.0f});
}

void unjoined_capture(bool bug) {
  DeviceArray<float> x(1);
  captured(cudaStreamCaptureModeThreadLocal,
           [&](cudaStream_t stream, cudaStream_t other, cudaEvent_t event) {
             cudaEventRecord(event, stream);
             cudaStreamWaitEvent(other, event);
             launch(set_kernel, 1, 1, 0, other, x.data(), 4.0f);
             cudaEventRecord(event, other);
             if (!bug) cudaStreamWaitEvent(stream, event);
           });
}

void wait_for_uncaptured_work(bool bug) {
  DeviceArray<float> x(1);
  cudaEvent_t before = nullptr;
  cudaEventCreate(&before);
  launch(set_kernel, 1, 1, 0, nullptr, x.data(), 4.0f);
  if (bug) cudaEventRecord(before, nullptr);
  captured(cudaStreamCaptureModeThreadLocal, [&](cudaStream_t stream, auto...) {
    check_cuda(cudaStreamWaitEvent(stream, before), "wait");
  });
  cudaEventDestroy(before);
}

void leaked_graph(bool bug) {
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaStreamCreate(&stream);
  cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  cudaStreamEndCapture(stream, &graph);
  cudaStreamDestroy(stream);
  if (!bug) cudaGraphDestroy(graph);
}

}  // namespace

const std::vector<Row> kCaptureRows = {{"malloc_in_capture", malloc_in_capture},
                                       {"wait_in_capture", wait_in_capture},
                                       {"query_during_global_capture", query_during_global_capture},
                                       {"missing_edge", missing_edge},
                                       {"unjoined_capture", unjoined_capture},
                                       {"wait_for_uncaptured_work", wait_for_uncaptured_work},
                                       {"leaked_graph", leaked_graph}};

}  // namespace selftest
