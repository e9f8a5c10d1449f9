// One training step: d_steps discriminator updates, then one joint encoder-generator update, each
// on fresh images and latents; then the moving averages. Paper section 3, BigGAN's schedule.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "engine/optim/gradient_reducer.h"
#include "models/bigbigan/bigbigan.h"
#include "train/config.h"

namespace bigbigan {

// This rank's part of one sub-step's batch.
struct ImageBatch {
  Tensor pixels;             // u8 (N, Re, Re, C)
  Tensor flip;               // u8 (N), or empty
  Tensor first_sample;       // i64 (1): global index of row 0 in the whole run
  int64_t global_batch = 0;  // images of all ranks
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
  void discriminator_update(const ImageBatch& batch);
  // Also the moving averages of G and E after step `step` (from 1); before train.ema_start they
  // equal the live weights.
  void encoder_generator_update(const ImageBatch& batch, int64_t step);
  [[nodiscard]] bool averages(int64_t step) const { return step >= config_.train.ema_start; }
  // A whole step: an update of D for each batch but the last, then `between`, one of E and G with
  // the last batch.
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

  // Latents and encoder noise of a batch, as the updates draw them.
  [[nodiscard]] StepInputs inputs(const ImageBatch& batch) const;
  void discriminator_update(const StepInputs& inputs);
  void encoder_generator_update(const StepInputs& inputs, int64_t step);

  void set_updates(int64_t d, int64_t eg);

 private:
  [[nodiscard]] GradientReducer* reducer_of(const ParamStore& store);  // null for one rank
  // The next backward pass into `store` is the last one of an update: sums over ranks begin while
  // it runs.
  void expect_gradients(ParamStore& store);
  // Waits for these sums, and flags gradients that are not finite in skip_.
  void reduce(ParamStore& store, const Tensor& squared_norm);
  // `decay`: of the store's averages, where it keeps any.
  void update(ParamStore& store, const Tensor& updates, double lr,
              std::optional<double> decay = std::nullopt);
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
