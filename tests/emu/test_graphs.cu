// Capture and graphs: nothing runs while capturing, replays read memory anew, and
// the rules of capture hold.
#include <catch2/catch.hpp>

#include "tests/emu/device_array.h"
#include "tests/emu/stream_fixture.h"

using namespace bigbigan;

namespace {

// Ends the capture of `stream` and makes it executable.
class Graph {
 public:
  explicit Graph(cudaStream_t stream) {
    cudaGraph_t graph = nullptr;
    check_cuda(cudaStreamEndCapture(stream, &graph), "end of capture");
    check_cuda(cudaGraphInstantiate(&exec_, graph), "instantiate");
    cudaGraphDestroy(graph);
  }
  ~Graph() { cudaGraphExecDestroy(exec_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch_on(cudaStream_t stream) const {
    check_cuda(cudaGraphLaunch(exec_, stream), "launch of a graph");
  }

 private:
  cudaGraphExec_t exec_ = nullptr;
};

void begin(cudaStream_t stream, cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
  check_cuda(cudaStreamBeginCapture(stream, mode), "begin");
}

cudaError_t end(cudaStream_t stream) {
  cudaGraph_t graph = nullptr;
  const cudaError_t status = cudaStreamEndCapture(stream, &graph);
  if (graph != nullptr) cudaGraphDestroy(graph);
  cudaGetLastError();
  return status;
}

cudaStreamCaptureStatus status_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  cudaStreamIsCapturing(stream, &status);
  return status;
}

}  // namespace

TEST_CASE("a captured stream runs when the graph is launched, each time anew") {
  TwoStreams s;
  DeviceArray<float> x(std::vector<float>{1});
  begin(s.first);
  CHECK(status_of(s.first) == cudaStreamCaptureStatusActive);
  launch(double_kernel, 1, 1, 0, s.first, x.data());
  launch(double_kernel, 1, 1, 0, s.first, x.data());
  const Graph graph(s.first);
  CHECK(status_of(s.first) == cudaStreamCaptureStatusNone);
  CHECK(x.host()[0] == 1);
  for (int i = 0; i < 3; ++i) graph.launch_on(s.second);
  cudaStreamSynchronize(s.second);
  CHECK(x.host()[0] == 64);
}

TEST_CASE("a graph may be destroyed while a launch of it waits") {
  TwoStreams s;
  DeviceArray<float> x(std::vector<float>{1});
  {
    begin(s.first);
    launch(double_kernel, 1, 1, 0, s.first, x.data());
    Graph(s.first).launch_on(s.first);
  }
  cudaStreamSynchronize(s.first);
  CHECK(x.host()[0] == 2);
}

TEST_CASE("a second stream joins a capture by an event, and back") {
  TwoStreams s;
  DeviceArray<float> x(1), y(1), sum(1);
  begin(s.first);
  launch(set_kernel, 1, 1, 0, s.first, x.data(), 1.0f);
  cudaEventRecord(s.event, s.first);
  cudaStreamWaitEvent(s.second, s.event);
  CHECK(status_of(s.second) == cudaStreamCaptureStatusActive);
  cudaMemcpyAsync(y.data(), x.data(), sizeof(float), cudaMemcpyDeviceToDevice, s.second);
  launch(double_kernel, 1, 1, 0, s.second, y.data());
  cudaEventRecord(s.event, s.second);
  launch(set_kernel, 1, 1, 0, s.first, sum.data(), 9.0f);  // beside the second stream's work
  cudaStreamWaitEvent(s.first, s.event);
  launch(double_kernel, 1, 1, 0, s.first, y.data());
  const Graph graph(s.first);
  CHECK(status_of(s.second) == cudaStreamCaptureStatusNone);
  graph.launch_on(s.first);
  cudaStreamSynchronize(s.first);
  CHECK(y.host()[0] == 4);
  CHECK(sum.host()[0] == 9);
}

TEST_CASE("a graph tells its nodes, their bytes, and how many edges are between them") {
  TwoStreams s;
  DeviceArray<float> x(3), y(3);
  begin(s.first);
  launch(set_kernel, 1, 1, 0, s.first, x.data(), 1.0f);
  cudaMemcpyAsync(y.data(), x.data(), 8, cudaMemcpyDeviceToDevice, s.first);
  cudaMemsetAsync(x.data(), 0, 12, s.first);
  cudaGraph_t graph = nullptr;
  REQUIRE(cudaStreamEndCapture(s.first, &graph) == cudaSuccess);
  size_t count = 0, edges = 0;
  REQUIRE(cudaGraphGetNodes(graph, nullptr, &count) == cudaSuccess);
  REQUIRE(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges) == cudaSuccess);
  REQUIRE(count == 3);
  REQUIRE(edges == 2);
  cudaGraphNode_t nodes[3] = {};
  cudaGraphGetNodes(graph, nodes, &count);
  cudaGraphNodeType types[3] = {};
  for (int i = 0; i < 3; ++i) cudaGraphNodeGetType(nodes[i], &types[i]);
  CHECK(types[0] == cudaGraphNodeTypeKernel);
  CHECK(types[1] == cudaGraphNodeTypeMemcpy);
  CHECK(types[2] == cudaGraphNodeTypeMemset);
  cudaMemcpy3DParms copy{};
  cudaGraphMemcpyNodeGetParams(nodes[1], &copy);
  CHECK(copy.extent.width * copy.extent.height * copy.extent.depth == 8);
  cudaMemsetParams fill{};
  cudaGraphMemsetNodeGetParams(nodes[2], &fill);
  CHECK(fill.elementSize * fill.width * fill.height == 12);
  cudaGraphDestroy(graph);
}

TEST_CASE("kernel arguments are those of the capture") {
  TwoStreams s;
  DeviceArray<float> x(1);
  float value = 3;
  begin(s.first);
  launch(set_kernel, 1, 1, 0, s.first, x.data(), value);
  const Graph graph(s.first);
  value = 4;
  graph.launch_on(s.first);
  cudaStreamSynchronize(s.first);
  CHECK(x.host()[0] == 3);
}

TEST_CASE("a capture that breaks a rule is invalid and says so at its end") {
  TwoStreams s;
  DeviceArray<float> x(1);
  begin(s.first);
  SECTION("by synchronising") {
    CHECK(cudaStreamSynchronize(s.first) == cudaErrorStreamCaptureUnsupported);
  }
  SECTION("by a query") { CHECK(cudaStreamQuery(s.first) == cudaErrorStreamCaptureUnsupported); }
  SECTION("by allocating") {
    void* memory = nullptr;
    CHECK(cudaMalloc(&memory, 4) == cudaErrorStreamCaptureUnsupported);
  }
  SECTION("by a copy that waits") {
    CHECK(cudaMemset(x.data(), 0, 4) == cudaErrorStreamCaptureUnsupported);
  }
  SECTION("by waiting for work outside it") {
    cudaEventRecord(s.event, s.second);
    CHECK(cudaStreamWaitEvent(s.first, s.event) == cudaErrorStreamCaptureIsolation);
  }
  CHECK(status_of(s.first) == cudaStreamCaptureStatusInvalidated);
  CHECK_THROWS_AS(launch(set_kernel, 1, 1, 0, s.first, x.data(), 1.0f), Error);
  CHECK(end(s.first) == cudaErrorStreamCaptureInvalidated);
}

TEST_CASE("captures begin and end where they may") {
  TwoStreams s;
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed) ==
        cudaErrorStreamCaptureUnsupported);
  CHECK(end(s.first) == cudaErrorIllegalState);
  begin(s.first);
  CHECK(cudaStreamBeginCapture(s.first, cudaStreamCaptureModeRelaxed) == cudaErrorIllegalState);
  cudaEventRecord(s.event, s.first);
  cudaStreamWaitEvent(s.second, s.event);
  CHECK(end(s.second) == cudaErrorStreamCaptureUnmatched);
  CHECK(end(s.first) == cudaErrorStreamCaptureInvalidated);
  CHECK(cudaEventQuery(s.event) == cudaErrorCapturedEvent);
  cudaGetLastError();
}

TEST_CASE("a relaxed capture allows what waits for other streams") {
  TwoStreams s;
  begin(s.first, cudaStreamCaptureModeRelaxed);
  CHECK(cudaStreamSynchronize(s.second) == cudaSuccess);
  void* memory = nullptr;
  CHECK(cudaMalloc(&memory, 4) == cudaSuccess);
  cudaFree(memory);
  CHECK(end(s.first) == cudaSuccess);
}
