#include "engine/data/batches.h"

namespace bigbigan {

LoadedBatch BatchLoader::load(int64_t first, int64_t count) const {
  const int64_t bytes = data_->image().bytes();
  LoadedBatch batch{std::vector<uint8_t>(count * bytes), std::vector<uint8_t>(count)};
  for (int64_t i = 0; i < count; ++i) {
    data_->read(sampler_.index(first + i), std::span(batch.pixels).subspan(i * bytes, bytes));
    batch.flip[i] = flip_ && sampler_.flip(first + i) ? 1 : 0;
  }
  return batch;
}

LoadedBatch BatchLoader::next(int64_t first, int64_t count, int64_t stride) {
  LoadedBatch batch;
  if (ahead_.valid() && ahead_first_ == first && ahead_count_ == count) {
    batch = ahead_.get();
  } else {
    if (ahead_.valid()) ahead_.wait();
    batch = load(first, count);
  }
  ahead_first_ = first + stride;
  ahead_count_ = count;
  ahead_ = std::async(std::launch::async,
                      [this, from = ahead_first_, count] { return load(from, count); });
  return batch;
}

}  // namespace bigbigan
