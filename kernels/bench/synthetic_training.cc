#include "kernels/bench/synthetic_training.h"

#include "engine/comm/communicator.h"
#include "kernels/random/philox.h"

namespace bigbigan {
namespace {

AnyExec observed(const AnyExec& exec, KernelObserver* observer) {
  return std::visit(
      [&](auto copy) {
        copy.observer = observer;
        return AnyExec(copy);
      },
      exec);
}

}  // namespace

SyntheticTraining::SyntheticTraining(const Config& config, Device& device, Communicator* comm)
    : config_(config),
      ctx_{.exec = device.exec(), .allocator = &device.allocator(), .comm = comm},
      model_(config.model),
      pixels_(noise()) {
  Context step_ctx = ctx_;
  step_ctx.exec = observed(ctx_.exec, &observer_);
  step_ctx.dtype = config.train.dtype();
  model_.allocate(step_ctx, true, config.ranks.division());
  if (device.accelerator() != nullptr) {
    pool_ = device.accelerator()->private_pool();
    step_ctx.allocator = pool_.get();
  }
  model_.initialize(static_cast<uint64_t>(config.train.seed));
  step_.emplace(config_, model_, step_ctx);
  if (device.accelerator() != nullptr) captured_.emplace(*step_, *device.accelerator());
}

void SyntheticTraining::run(KernelObserver* observer) {
  observer_.target = observer;
  step_->run(batches(pixels_), ++steps_);
  observer_.target = nullptr;
}

void SyntheticTraining::replay() {
  check(captured_.has_value(), "bench: no recorded steps on the CPU");
  // The recording keeps the first images and copies later ones over them.
  captured_->run(batches(replays_++ == 0 ? noise() : pixels_), ++steps_);
}

std::vector<ImageBatch> SyntheticTraining::batches(const Tensor& pixels) const {
  std::vector<ImageBatch> list;
  for (int64_t i = 0; i < config_.train.micro_batches_per_step(); ++i) {
    list.push_back(image_batch(ctx_, pixels, Tensor(), 0, config_.train.batch));
  }
  return list;
}

Tensor SyntheticTraining::noise() const {
  const int64_t r = model_.arch.encoder_resolution;
  const int ranks = rank_count(ctx_.comm);
  const Shape shape{config_.train.images_at_a_time(ranks), r, r, config_.model.image_channels};
  std::vector<uint8_t> pixels(shape.elems());
  for (size_t i = 0; i < pixels.size(); ++i) {
    pixels[i] = static_cast<uint8_t>(philox(0, RandomStream::kSample, i, 0).word[0]);
  }
  return Tensor::from_host(ctx_, shape, DType::kU8, pixels.data());
}

}  // namespace bigbigan
