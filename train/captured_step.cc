#include "train/captured_step.h"

namespace bigbigan {
namespace {

void copy_into(const Tensor& to, const Tensor& from) {
  if (to) to.copy_from(from);
}

}  // namespace

void CapturedStep::run(std::span<const ImageBatch> batches, int64_t number) {
  if (!has_run_) {
    inputs_.assign(batches.begin(), batches.end());
    step_.run(inputs_, number);
    has_run_ = true;
    return;
  }
  check(batches.size() == inputs_.size(), "captured step: {} batches, expected {}", batches.size(),
        inputs_.size());
  for (size_t i = 0; i < batches.size(); ++i) {
    const ImageBatch &to = inputs_[i], &from = batches[i];
    check(to.pixels.shape() == from.pixels.shape() && to.global_batch == from.global_batch,
          "captured step: batch {} is {}, expected {}", i, from.pixels.shape(), to.pixels.shape());
    copy_into(to.pixels, from.pixels);
    copy_into(to.flip, from.flip);
    copy_into(to.first_sample, from.first_sample);
  }
  std::unique_ptr<Recording>& recording = recordings_[step_.averages(number) ? 1 : 0];
  if (!recording) recording = device_.record([&] { step_.run(inputs_, number); });
  recording->replay();
}

}  // namespace bigbigan
