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
#include "kernels/elementwise/unary.h"
#include "models/bigbigan/inference.h"

namespace bigbigan {
namespace {

constexpr int64_t kPartAlignment = 64;
constexpr int64_t kMaxReportBytes = 1024;

// Fault injection.
void set_to_nan(const Tensor& tensor) {
  dispatch_real("fault", tensor.dtype(), [&]<class T>(TypeTag<T>) {
    tensor.reshape({tensor.elems()}).slice(0, 1).set_item(std::numeric_limits<T>::quiet_NaN());
  });
}

Tensor scalar_i64(const Context& ctx, int64_t value) {
  return Tensor::from_host(ctx, {1}, DType::kI64, &value);
}

// to := from, or to += from; of whatever pools.
void take(const Context& ctx, const Tensor& from, const Tensor& to, bool accumulate = false) {
  ctx.run([&](const auto& ex) { scale(ex, from, 1.0, to, accumulate); });
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
      report_(Tensor::zeros(ctx, {kMaxReportBytes}, DType::kU8, MemoryTag::kOptimizer)),
      readback_(ctx.allocator->memory().readback(kMaxReportBytes)),
      skip_(next_part({1}, DType::kI32)),
      d_updates_(next_part({1}, DType::kI64)),
      eg_updates_(next_part({1}, DType::kI64)),
      norm_g_(next_part({1}, master_dtype(ctx.dtype))),
      norm_e_(next_part({1}, master_dtype(ctx.dtype))),
      norm_d_(next_part({1}, master_dtype(ctx.dtype))),
      d_terms_(next_part({kLossTermCount}, master_dtype(ctx.dtype))),
      eg_terms_(next_part({kLossTermCount}, master_dtype(ctx.dtype))) {
  check(ctx.tape == nullptr, "training step: the context has a tape");
  if (ctx.comm == nullptr) return;
  for (ParamStore* store : model.stores()) {
    const bool is_narrow = config.ranks.gradient_dtype == "bf16";
    reducers_.try_emplace(store, ctx, *store, is_narrow ? DType::kBF16 : store->grad.dtype());
  }
}

Tensor TrainingStep::next_part(const Shape& shape, DType dtype) {
  const Tensor part = report_.part(report_bytes_, shape, dtype);
  report_bytes_ += (part.view().bytes() + kPartAlignment - 1) / kPartAlignment * kPartAlignment;
  return part;
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

GradientReducer* TrainingStep::reducer_of(const ParamStore& store) {
  const auto found = reducers_.find(&store);
  return found == reducers_.end() ? nullptr : &found->second;
}

void TrainingStep::expect_gradients(ParamStore& store) {
  GradientReducer* const reducer = reducer_of(store);
  const bool is_poisoned = std::exchange(poison_, false);
  if (reducer == nullptr && !is_poisoned) return;
  store.on_gradient_ready = [&store, reducer, is_poisoned](int64_t entry) {
    if (is_poisoned) set_to_nan(store.of(store.grad, store.entries()[entry]));
    if (reducer != nullptr) reducer->ready(entry);
  };
}

void TrainingStep::accumulate(Gradients gradients, std::initializer_list<ParamStore*> written,
                              const Inputs& inputs, const Tensor& terms) {
  const std::vector<ParamStore*> stores = model_.stores();
  std::vector<Tensor> start;  // of spectral norm's u
  for (const ParamStore* store : stores) {
    if (config_.train.micro_batches == 1) break;
    const Tensor& u = store->directions;
    take(ctx_, u, start.emplace_back(Tensor::empty(ctx_, u.shape(), u.dtype())));
  }
  for (int64_t j = 0; j < config_.train.micro_batches; ++j) {
    for (size_t s = 0; s < stores.size(); ++s) {
      stores[s]->accumulate_gradients = j > 0;
      if (j > 0) take(ctx_, start[s], stores[s]->directions);
    }
    if (j + 1 == config_.train.micro_batches) {
      for (ParamStore* store : written) expect_gradients(*store);
    }
    take(ctx_, (model_.*gradients)(ctx_, inputs(j)), terms, j > 0);
  }
  if (ctx_.comm != nullptr) ctx_.comm->all_reduce_sum(terms.view());
}

Tensor TrainingStep::reduce(ParamStore& store, const Tensor& squared_norm) {
  store.on_gradient_ready = nullptr;
  if (GradientReducer* const reducer = reducer_of(store)) reducer->finish();
  const NormalizedWeights weights = store.normalized_weights(0);
  const Tensor sums = Tensor::empty(ctx_, gradient_sums_shape(weights), DType::kF64);
  for (int64_t i = 0; i < store.pieces(); ++i) {
    gradient_sums(ctx_, store.piece(store.value, i), store.piece(store.grad, i),
                  store.normalized_weights(i), sums, /*accumulate=*/i > 0);
  }
  // A piece that is not finite makes the sums so on all ranks, which then skip together.
  if (store.is_sharded()) ctx_.comm->all_reduce_sum(sums);
  gradient_norm(ctx_, weights, sums, squared_norm, skip_);
  return sums;
}

void TrainingStep::update(ParamStore& store, const Tensor& sums, const Tensor& updates, double lr,
                          double decay) {
  for (int64_t i = 0; i < store.pieces(); ++i) {
    optimizer_update(ctx_, {.value = store.piece(store.value, i),
                            .grad = store.piece(store.grad, i),
                            .m = store.piece(store.adam_m, i),
                            .v = store.piece(store.adam_v, i),
                            .t = updates,
                            .skip = skip_,
                            .average = store.piece(store.ema, i),
                            .packed = store.is_sharded() ? Tensor() : store.packed,
                            .lr = lr,
                            .beta1 = config_.optim.beta1,
                            .beta2 = config_.optim.beta2,
                            .eps = config_.optim.eps,
                            .decay = decay,
                            .normalized = store.normalized_weights(i),
                            .sums = sums});
  }
  store.gather_values();
  if (store.is_averaged()) {
    ema_update(ctx_, store.ema_statistics, store.statistics, decay, skip_);
  }
}

void TrainingStep::discriminator_update(const Inputs& inputs) {
  accumulate(&BigBiGAN::discriminator_gradients, {&model_.d_store}, inputs, d_terms_);
  const Tensor sums = reduce(model_.d_store, norm_d_);
  increment(ctx_, d_updates_);
  update(model_.d_store, sums, d_updates_, config_.optim.d_lr);
}

void TrainingStep::encoder_generator_update(const Inputs& inputs, int64_t step) {
  accumulate(&BigBiGAN::encoder_generator_gradients, {&model_.g_store, &model_.e_store}, inputs,
             eg_terms_);
  const Tensor g_sums = reduce(model_.g_store, norm_g_);
  const Tensor e_sums = model_.encoder ? reduce(model_.e_store, norm_e_) : Tensor();
  increment(ctx_, eg_updates_);
  const double decay = averages(step) ? config_.train.ema_decay : 0.0;
  update(model_.g_store, g_sums, eg_updates_, config_.optim.g_lr, decay);
  if (model_.encoder) update(model_.e_store, e_sums, eg_updates_, config_.optim.e_lr, decay);
}

void TrainingStep::run(std::span<const ImageBatch> batches, int64_t step,
                       const std::function<void()>& between) {
  const int64_t parts = config_.train.micro_batches, count = std::ssize(batches);
  check(count > parts && count % parts == 0, "step: {} batches in {} parts", count, parts);
  const auto from = [&](int64_t first) {
    return [&, first](int64_t j) { return inputs(batches[first + j]); };
  };
  begin();
  for (int64_t i = 0; i < count - parts; i += parts) discriminator_update(from(i));
  between();
  encoder_generator_update(from(count - parts), step);
}

StepReport TrainingStep::receive_report() {
  const std::byte* const host = readback_->wait();
  // A part as it lies on the host.
  const auto copy_of = [&](const Tensor& part) {
    View view = part.view();
    const auto offset = static_cast<const std::byte*>(view.data) -
                        static_cast<const std::byte*>(report_.view().data);
    view.data = const_cast<std::byte*>(host + offset);
    return view;
  };
  const auto reals = [&](const Tensor& part) {
    std::array<double, kLossTermCount> values{};
    const View view = copy_of(part);
    dispatch_real("report", view.dtype, [&]<class T>(TypeTag<T>) {
      std::copy_n(view.as<T>(), view.shape.elems(), values.begin());
    });
    return values;
  };
  return {.d = reals(d_terms_),
          .eg = reals(eg_terms_),
          .grad_norm_g = std::sqrt(reals(norm_g_)[0]),
          .grad_norm_e = std::sqrt(reals(norm_e_)[0]),
          .grad_norm_d = std::sqrt(reals(norm_d_)[0]),
          .skipped = *copy_of(skip_).as<int32_t>() != 0,
          .d_updates = *copy_of(d_updates_).as<int64_t>(),
          .eg_updates = *copy_of(eg_updates_).as<int64_t>()};
}

}  // namespace bigbigan
