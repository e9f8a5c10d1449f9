// Marks as CUDA events.
#pragma once

#include <vector>

#include "engine/core/timeline.h"

struct CUevent_st;
struct CUstream_st;

namespace bigbigan {

class CudaTimeline final : public Timeline {
 public:
  explicit CudaTimeline(CUstream_st* stream) : stream_(stream) {}
  ~CudaTimeline() override;
  CudaTimeline(const CudaTimeline&) = delete;
  CudaTimeline& operator=(const CudaTimeline&) = delete;

  size_t mark() override;
  double seconds(size_t from, size_t to) override;
  void clear() override { marks_ = 0; }

 private:
  CUstream_st* stream_;
  std::vector<CUevent_st*> events_;  // the first marks_ are set; the others wait to be used again
  size_t marks_ = 0;
};

}  // namespace bigbigan
