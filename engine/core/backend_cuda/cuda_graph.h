// Launches recorded as a CUDA graph.
#pragma once

#include <functional>

#include "engine/core/device.h"

struct CUgraphExec_st;

namespace bigbigan {

class CudaGraph final : public Recording {
 public:
  // Records what `launches` enqueues on `stream`; nothing runs. Throws Error{kSystem} where
  // something cannot be recorded: an allocation, a wait, a copy from pageable memory.
  CudaGraph(CUstream_st* stream, const std::function<void()>& launches);
  ~CudaGraph() override;
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  void replay() override;

 private:
  CUstream_st* stream_;
  CUgraphExec_st* graph_ = nullptr;
};

}  // namespace bigbigan
