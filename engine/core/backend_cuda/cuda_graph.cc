#include "engine/core/backend_cuda/cuda_graph.h"

#include "kernels/common/cuda_status.h"

namespace bigbigan {

CudaGraph::CudaGraph(CUstream_st* stream, const std::function<void()>& launches) : stream_(stream) {
  // Other threads (data loading) may allocate meanwhile: thread-local.
  check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  cudaGraph_t graph = nullptr;
  try {
    launches();
  } catch (...) {
    cudaStreamEndCapture(stream, &graph);  // the stream is usable again
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  check_cuda(cudaStreamEndCapture(stream, &graph), "capture");
  const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(status, "captured graph");
}

CudaGraph::~CudaGraph() { cudaGraphExecDestroy(graph_); }

void CudaGraph::replay() { check_cuda(cudaGraphLaunch(graph_, stream_), "graph launch"); }

}  // namespace bigbigan
