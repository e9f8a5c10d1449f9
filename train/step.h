// One training step: d_steps discriminator updates, then one joint encoder-generator update, each
// on fresh images and latents; then the moving averages. Paper section 3, BigGAN's schedule.
//
// Note [Micro-batches]: an update takes train.batch images, in train.micro_batches parts one after
// another, whose gradients and loss terms add up; losses are divided by the whole batch. The sum is
// that of one pass over all but for batch norm, which takes the statistics of each part (over all
// ranks), and moves the stored ones with each. Spectral norm's u starts each part from where the
// update began, so that all parts see the same weights and u moves once per update.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "engine/optim/gradient_reducer.h"
#include "models/bigbigan/bigbigan.h"
#include "train/config.h"

namespace bigbigan {

// This rank's images of one micro-batch.
struct ImageBatch {
  Tensor pixels;             // u8 (N, Re, Re, C)
  Tensor flip;               // u8 (N), or empty
  Tensor first_sample;       // i64 (1): global index of row 0 in the whole run
  int64_t global_batch = 0;  // images of the update, over all micro-batches and ranks
};
ImageBatch image_batch(const Context& ctx, const Tensor& pixels, const Tensor& flip,
                       int64_t first_sample, int64_t global_batch);

// What a step leaves to be read on the host afterwards.
struct StepReport {
  std::array<double, kLossTermCount> d{}, eg{};  // loss terms: last D update, EG update
  double grad_norm_g = 0, grad_norm_e = 0, grad_norm_d = 0;
  bool skipped = false;  // a loss or gradient was not finite: the updates from there on did nothing
  // Numbers of Adam updates done so far: D's, and G's and E's together. Part of the checkpoint.
  int64_t d_updates = 0, eg_updates = 0;
};

class TrainingStep {
 public:
  // `ctx`: no tape; comm set where several ranks train together. The model is allocated for
  // training.
  TrainingStep(const Config& config, BigBiGAN& model, const Context& ctx);

  // Resets the non-finite flag. Nothing in a step reads device memory on the host.
  void begin();
  // Fault injection: the next gradient is NaN.
  void poison_next_gradient() { poison_ = true; }
  // The inputs of micro-batch `j` of an update, which are made when it is its turn.
  using Inputs = std::function<StepInputs(int64_t j)>;
  void discriminator_update(const Inputs& inputs);
  // Also the moving averages of G and E after step `step` (from 1); before train.ema_start they
  // equal the live weights.
  void encoder_generator_update(const Inputs& inputs, int64_t step);
  [[nodiscard]] bool averages(int64_t step) const { return step >= config_.train.ema_start; }
  // A whole step: an update of D with each train.micro_batches of `batches` but the last, then
  // `between`, and one of E and G with the last.
  void run(
      std::span<const ImageBatch> batches, int64_t step,
      const std::function<void()>& between = [] {});
  // Note [One read per step]: all that a step reports lies in one small buffer on the device, which
  // one copy brings to the host. send_report() starts the copy behind the launches so far;
  // receive_report() waits for the oldest that was sent. Two may be under way, so that a step is
  // launched while the device still computes the one before.
  void send_report() { readback_->start(report_.view().data); }
  [[nodiscard]] StepReport receive_report();
  [[nodiscard]] StepReport report() {
    send_report();
    return receive_report();
  }

  void set_updates(int64_t d, int64_t eg);

 private:
  // Images as the networks read them, latents and encoder noise.
  [[nodiscard]] StepInputs inputs(const ImageBatch& batch) const;
  using Gradients = Tensor (BigBiGAN::*)(const Context&, const StepInputs&);
  // The sums of the gradients, in the stores `written`, and of the loss terms over the
  // micro-batches of an update.
  void accumulate(Gradients gradients, std::initializer_list<ParamStore*> written,
                  const Inputs& inputs, const Tensor& terms);
  [[nodiscard]] GradientReducer* reducer_of(const ParamStore& store);  // null for one rank
  // The next backward pass into `store` is the last one of an update: sums over ranks begin while
  // it runs.
  void expect_gradients(ParamStore& store);
  // Waits for these sums, and flags gradients that are not finite in skip_, on all ranks alike.
  // Returns what update() needs of them: gradient_sums.
  [[nodiscard]] Tensor reduce(ParamStore& store, const Tensor& squared_norm);
  // `decay`: of the store's averages, where it keeps any.
  void update(ParamStore& store, const Tensor& sums, const Tensor& updates, double lr,
              double decay = 0);
  // The next part of the report's buffer.
  Tensor next_part(const Shape& shape, DType dtype);

  const Config& config_;
  BigBiGAN& model_;
  Context ctx_;
  Tensor report_;  // bytes; the tensors below are its parts
  int64_t report_bytes_ = 0;
  std::unique_ptr<Readback> readback_;
  Tensor skip_;                      // i32 (1)
  Tensor d_updates_, eg_updates_;    // i64 (1)
  Tensor norm_g_, norm_e_, norm_d_;  // (1)
  Tensor d_terms_, eg_terms_;        // (16)
  std::map<const ParamStore*, GradientReducer> reducers_;
  bool poison_ = false;
};

}  // namespace bigbigan
