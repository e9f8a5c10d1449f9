// A model that trains on images of noise.
#pragma once

#include <optional>

#include "engine/core/device.h"
#include "train/captured_step.h"
#include "train/config.h"

namespace bigbigan {

class SyntheticTraining {
 public:
  // `comm`, which may be null: of the ranks that share the batch.
  SyntheticTraining(const Config& config, Device& device, Communicator* comm = nullptr);

  // One step, launch by launch; `observer`, which may be null, is told of each.
  void run(KernelObserver* observer);
  // One step as a recording; the first call runs it by itself, the second records. GPU only.
  void replay();

  [[nodiscard]] const Context& context() const { return ctx_; }

 private:
  // Passes calls on to the observer of the moment.
  struct Switch final : KernelObserver {
    KernelObserver* target = nullptr;
    void begin(std::string_view launcher, const LaunchWork& work) override {
      if (target != nullptr) target->begin(launcher, work);
    }
    void end() override {
      if (target != nullptr) target->end();
    }
  };

  [[nodiscard]] Tensor noise() const;
  // The batches of one step, all of the same images.
  [[nodiscard]] std::vector<ImageBatch> batches(const Tensor& pixels) const;

  const Config& config_;
  Switch observer_;
  std::unique_ptr<Allocator> pool_;  // of the step, where there is an accelerator
  Context ctx_;
  BigBiGAN model_;
  Tensor pixels_;
  std::optional<TrainingStep> step_;
  std::optional<CapturedStep> captured_;
  int64_t steps_ = 0, replays_ = 0;
};

}  // namespace bigbigan
