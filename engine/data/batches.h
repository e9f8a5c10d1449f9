// Batches of images by position (Note [Sample order]), loaded one ahead.
#pragma once

#include <future>
#include <memory>
#include <vector>

#include "engine/data/dataset.h"
#include "engine/data/sampler.h"

namespace bigbigan {

struct LoadedBatch {
  std::vector<uint8_t> pixels;  // (N, H, W, C)
  std::vector<uint8_t> flip;    // (N)
};

class BatchLoader {
 public:
  // `flip`: mirror by the sampler's coin; otherwise no image is mirrored.
  BatchLoader(std::shared_ptr<const Dataset> data, const Sampler& sampler, bool flip)
      : data_(std::move(data)), sampler_(sampler), flip_(flip) {}

  // Images at positions [first, first + count); the batch that starts `stride` later is loaded
  // meanwhile. Errors of that loading are thrown when it is asked for.
  LoadedBatch next(int64_t first, int64_t count, int64_t stride);

 private:
  [[nodiscard]] LoadedBatch load(int64_t first, int64_t count) const;

  std::shared_ptr<const Dataset> data_;
  Sampler sampler_;
  bool flip_;
  std::future<LoadedBatch> ahead_;
  int64_t ahead_first_ = -1, ahead_count_ = 0;
};

}  // namespace bigbigan
