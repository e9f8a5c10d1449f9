#include "train/step.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/comm/communicator.h"
#include "engine/ops/image.h"
#include "engine/ops/random.h"
#include "engine/optim/adam.h"
#include "kernels/common/dispatch.h"
#include "models/bigbigan/inference.h"

namespace bigbigan {
namespace {

std::vector<double> on_host(const Tensor& t) {
  std::vector<double> values;
  dispatch_real("report", t.dtype(), [&]<class T>(TypeTag<T>) {
    const std::vector<T> read = t.to_vector<T>();
    values.assign(read.begin(), read.end());
  });
  return values;
}

Tensor scalar_i64(const Context& ctx, int64_t value) {
  return Tensor::from_host(ctx, {1}, DType::kI64, &value);
}

}  // namespace

ImageBatch image_batch(const Context& ctx, const Tensor& pixels, const Tensor& flip,
                       int64_t first_sample, int64_t global_batch) {
  return {pixels, flip, scalar_i64(ctx, first_sample), global_batch};
}

TrainingStep::TrainingStep(const Config& config, BigBiGAN& model, const Context& ctx)
    : config_(config),
      model_(model),
      ctx_(ctx),
      skip_(Tensor::zeros(ctx, {1}, DType::kI32, MemoryTag::kOptimizer)),
      d_updates_(scalar_i64(ctx, 0)),
      eg_updates_(scalar_i64(ctx, 0)),
      norm_g_(Tensor::zeros(ctx, {1}, master_dtype(ctx.dtype), MemoryTag::kOptimizer)),
      norm_e_(Tensor::zeros(ctx, {1}, master_dtype(ctx.dtype), MemoryTag::kOptimizer)),
      norm_d_(Tensor::zeros(ctx, {1}, master_dtype(ctx.dtype), MemoryTag::kOptimizer)),
      d_terms_(
          Tensor::zeros(ctx, {kLossTermCount}, master_dtype(ctx.dtype), MemoryTag::kOptimizer)),
      eg_terms_(
          Tensor::zeros(ctx, {kLossTermCount}, master_dtype(ctx.dtype), MemoryTag::kOptimizer)) {
  check(ctx.tape == nullptr, "training step: the context has a tape");
}

void TrainingStep::set_updates(int64_t d, int64_t eg) {
  d_updates_.set_item(d);
  eg_updates_.set_item(eg);
}

void TrainingStep::begin() { skip_.clear(); }

StepInputs TrainingStep::inputs(const ImageBatch& batch) const {
  const auto seed = static_cast<uint64_t>(config_.train.seed);
  const Shape shape{batch.pixels.shape()[0], config_.model.z_dim};
  StepInputs in;
  in.x = normalize_image(ctx_, batch.pixels, batch.flip);
  in.z = prior_latents(ctx_, config_.model, {seed, RandomStream::kLatent}, batch.first_sample,
                       shape[0]);
  if (config_.model.encoder_stochastic) {
    in.eps = random_normal(ctx_, {seed, RandomStream::kEncoderNoise}, batch.first_sample, shape);
  }
  in.global_batch = batch.global_batch;
  return in;
}

void TrainingStep::reduce(ParamStore& store, const Tensor& squared_norm) {
  if (std::exchange(poison_, false)) {
    dispatch_real("fault", store.grad.dtype(), [&]<class T>(TypeTag<T>) {
      store.grad.slice(0, 1).set_item(std::numeric_limits<T>::quiet_NaN());
    });
  }
  if (ctx_.comm != nullptr) ctx_.comm->all_reduce_sum(store.grad.view());
  sum_of_squares(ctx_, store.grad, squared_norm, skip_);
}

void TrainingStep::adam(ParamStore& store, const Tensor& updates, double lr) {
  const AdamOptions options{.lr = lr,
                            .beta1 = config_.optim.beta1,
                            .beta2 = config_.optim.beta2,
                            .eps = config_.optim.eps};
  adam_update(ctx_, store.value, store.grad, store.adam_m, store.adam_v, updates, skip_, options);
  store.pack();
}

void TrainingStep::discriminator_update(const StepInputs& in) {
  d_terms_.copy_from(model_.discriminator_gradients(ctx_, in));
  if (ctx_.comm != nullptr) ctx_.comm->all_reduce_sum(d_terms_.view());
  reduce(model_.d_store, norm_d_);
  increment(ctx_, d_updates_);
  adam(model_.d_store, d_updates_, config_.optim.d_lr);
}

void TrainingStep::encoder_generator_update(const StepInputs& in) {
  eg_terms_.copy_from(model_.encoder_generator_gradients(ctx_, in));
  if (ctx_.comm != nullptr) ctx_.comm->all_reduce_sum(eg_terms_.view());
  reduce(model_.g_store, norm_g_);
  if (model_.encoder) reduce(model_.e_store, norm_e_);
  increment(ctx_, eg_updates_);
  adam(model_.g_store, eg_updates_, config_.optim.g_lr);
  if (model_.encoder) adam(model_.e_store, eg_updates_, config_.optim.e_lr);
}

void TrainingStep::discriminator_update(const ImageBatch& batch) {
  discriminator_update(inputs(batch));
}

void TrainingStep::encoder_generator_update(const ImageBatch& batch) {
  encoder_generator_update(inputs(batch));
}

void TrainingStep::update_averages(int64_t step) {
  const double decay = averages(step) ? config_.train.ema_decay : 0.0;
  for (ParamStore* store : {&model_.g_store, &model_.e_store}) {
    if (!store->ema) continue;
    ema_update(ctx_, store->ema, store->value, decay, skip_);
    ema_update(ctx_, store->ema_statistics, store->statistics, decay, skip_);
  }
}

void TrainingStep::run(std::span<const ImageBatch> batches, int64_t step,
                       const std::function<void()>& between) {
  begin();
  for (const ImageBatch& batch : batches.first(batches.size() - 1)) discriminator_update(batch);
  between();
  encoder_generator_update(batches.back());
  update_averages(step);
}

StepReport TrainingStep::report() const {
  StepReport r;
  for (const auto& [terms, values] : {std::pair(&d_terms_, &r.d), std::pair(&eg_terms_, &r.eg)}) {
    std::ranges::copy(on_host(*terms), values->begin());
  }
  r.grad_norm_g = std::sqrt(on_host(norm_g_)[0]);
  r.grad_norm_e = std::sqrt(on_host(norm_e_)[0]);
  r.grad_norm_d = std::sqrt(on_host(norm_d_)[0]);
  r.skipped = skip_.item<int32_t>() != 0;
  return r;
}

}  // namespace bigbigan
