#include "engine/core/backend_cuda/cuda_timeline.h"

#include "kernels/common/cuda_status.h"

namespace bigbigan {

CudaTimeline::~CudaTimeline() {
  for (const cudaEvent_t event : events_) cudaEventDestroy(event);
}

size_t CudaTimeline::mark() {
  if (marks_ == events_.size()) {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreate(&event), "CUDA event");
    events_.push_back(event);
  }
  check_cuda(cudaEventRecord(events_[marks_], stream_), "CUDA event");
  return marks_++;
}

double CudaTimeline::seconds(size_t from, size_t to) {
  check(from <= to && to < marks_, "timeline: from mark {} to {} of {}", from, to, marks_);
  check_cuda(cudaEventSynchronize(events_[to]), "CUDA event");
  float milliseconds = 0;
  check_cuda(cudaEventElapsedTime(&milliseconds, events_[from], events_[to]), "CUDA event");
  return 1e-3 * milliseconds;
}

}  // namespace bigbigan
