// Stream capture and graphs. A captured operation becomes a node that knows what it comes after; a
// launch replays the nodes in an order that the schedule picks among all that their edges allow, so
// that a missing edge shows.
#include <algorithm>
#include <atomic>

#include "runtime.h"
#include "scheduler.h"
#include "settings.h"

namespace emu {
namespace {

std::vector<std::shared_ptr<Capture>>& captures() {
  static auto& active = *new std::vector<std::shared_ptr<Capture>>;
  return active;
}

// All nodes that come before one of `tail`, and `tail` itself.
std::vector<bool> reached_from(const std::vector<Node>& nodes, std::vector<size_t> tail) {
  std::vector<bool> reached(nodes.size());
  while (!tail.empty()) {
    const size_t node = tail.back();
    tail.pop_back();
    if (reached[node]) continue;
    reached[node] = true;
    tail.insert(tail.end(), nodes[node].after.begin(), nodes[node].after.end());
  }
  return reached;
}

// True if everything the other streams captured comes before the origin's last node.
bool all_joined(const Capture& capture) {
  const auto reached = reached_from(capture.nodes, capture.origin->capture_tail);
  return std::all_of(capture.joined.begin(), capture.joined.end(), [&](const auto& stream) {
    const auto& tail = stream->capture_tail;
    return std::all_of(tail.begin(), tail.end(), [&](size_t node) { return reached[node]; });
  });
}

void leave(CUstream_st& stream) {
  stream.capture.reset();
  stream.capture_tail.clear();
}

void replay(const std::vector<Node>& nodes) {
  static std::atomic<uint64_t> launches = 0;
  Random random(launches++);
  std::vector<bool> done(nodes.size());
  const auto may_run = [&](size_t i) {
    const auto& after = nodes[i].after;
    return !done[i] && std::all_of(after.begin(), after.end(), [&](size_t j) { return done[j]; });
  };
  for (size_t count = 0; count < nodes.size() && fault() == cudaSuccess; ++count) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (may_run(i)) ready.push_back(i);
    }
    random.arrange(ready);
    nodes[ready.front()].op();
    done[ready.front()] = true;
  }
}

}  // namespace

bool forbidden_by_capture() {
  const std::lock_guard lock(tables());
  bool forbidden = false;
  for (const auto& capture : captures()) {
    const bool own = capture->owner == std::this_thread::get_id();
    if (capture->mode == cudaStreamCaptureModeGlobal ||
        (capture->mode == cudaStreamCaptureModeThreadLocal && own)) {
      capture->invalid = true;
      forbidden = true;
    }
  }
  return forbidden;
}

bool capture_op(CUstream_st& stream, const Op& op, const Work& work, cudaError_t& status) {
  if (stream.capture == nullptr) return false;
  Capture& capture = *stream.capture;
  if (capture.invalid) {
    status = cudaErrorStreamCaptureInvalidated;
  } else {
    capture.nodes.push_back({op, work, stream.capture_tail});
    stream.capture_tail = {capture.nodes.size() - 1};
  }
  return true;
}

}  // namespace emu

using namespace emu;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  CUstream_st& stream = resolve(handle);
  const std::lock_guard lock(tables());
  if (stream.is_null) return answer(cudaErrorStreamCaptureUnsupported);
  if (stream.capture != nullptr) return answer(cudaErrorIllegalState);
  stream.capture = std::make_shared<Capture>();
  stream.capture->mode = mode;
  stream.capture->owner = std::this_thread::get_id();
  stream.capture->origin = &stream;
  captures().push_back(stream.capture);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const std::lock_guard lock(tables());
  *graph = nullptr;
  if (stream == nullptr || stream->capture == nullptr) return answer(cudaErrorIllegalState);
  const auto capture = stream->capture;
  if (capture->origin.get() != stream) {
    capture->invalid = true;
    return answer(cudaErrorStreamCaptureUnmatched);
  }
  if (capture->mode != cudaStreamCaptureModeRelaxed &&
      capture->owner != std::this_thread::get_id()) {
    return answer(cudaErrorStreamCaptureWrongThread);
  }
  const bool joined = all_joined(*capture);
  for (const auto& other : capture->joined) leave(*other.get());
  leave(*stream);
  capture->ended = true;
  std::erase(captures(), capture);
  if (fault() != cudaSuccess) return answer(fault());
  if (capture->invalid) return answer(cudaErrorStreamCaptureInvalidated);
  if (!joined) return answer(cudaErrorStreamCaptureUnjoined);
  *graph = new CUgraph_st{std::move(capture->nodes)};
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  const CUstream_st& stream = resolve(handle);
  const std::lock_guard lock(tables());
  *status = cudaStreamCaptureStatusNone;
  if (stream.capture != nullptr) {
    *status = stream.capture->invalid ? cudaStreamCaptureStatusInvalidated
                                      : cudaStreamCaptureStatusActive;
  }
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (nodes != nullptr && *count < graph->nodes.size()) fail("only some nodes: not modelled");
  *count = graph->nodes.size();
  for (size_t i = 0; nodes != nullptr && i < *count; ++i) nodes[i] = &graph->nodes[i];
  return cudaSuccess;
}

cudaError_t cudaGraphGetEdges(cudaGraph_t graph, cudaGraphNode_t* from, cudaGraphNode_t* to,
                              cudaGraphEdgeData* data, size_t* count) {
  if (from != nullptr || to != nullptr || data != nullptr) fail("edges: their number alone");
  *count = 0;
  for (const Node& node : graph->nodes) *count += node.after.size();
  return cudaSuccess;
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  *type = node->work.type;
  return cudaSuccess;
}

cudaError_t cudaGraphMemcpyNodeGetParams(cudaGraphNode_t node, cudaMemcpy3DParms* params) {
  *params = {};
  params->extent = {node->work.bytes, 1, 1};
  return cudaSuccess;
}

cudaError_t cudaGraphMemsetNodeGetParams(cudaGraphNode_t node, cudaMemsetParams* params) {
  *params = {.elementSize = 1, .width = node->work.bytes, .height = 1};
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long flags) {
  if (flags != 0) fail("cudaGraphInstantiate with flags is not modelled");
  *exec = new CUgraphExec_st{std::make_shared<const std::vector<Node>>(graph->nodes)};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  {
    const std::lock_guard lock(tables());
    if (resolve(stream).capture != nullptr) fail("a graph launched into a capture: not modelled");
  }
  return answer(enqueue(stream, [nodes = exec->nodes] { replay(*nodes); }));
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}

}  // extern "C"
