#include "train/trainer.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/ops/image.h"
#include "engine/util/clock.h"
#include "engine/util/signals.h"
#include "engine/util/text.h"
#include "models/bigbigan/inference.h"
#include "models/bigbigan/load.h"

namespace bigbigan {
namespace {

std::string config_text(Config config) { return to_toml(config_fields(config)); }

Tensor pixels_to_tensor(const Context& ctx, const Shape& shape, std::span<const uint8_t> bytes) {
  return Tensor::from_host(ctx, shape, DType::kU8, bytes.data(), MemoryTag::kData);
}

// The first `count` images of a data set as network input.
Tensor first_images(const Context& ctx, const Dataset& data, int64_t count) {
  const auto [h, w, c] = data.image();
  std::vector<uint8_t> bytes(count * h * w * c);
  for (int64_t i = 0; i < count; ++i)
    data.read(i, std::span(bytes).subspan(i * h * w * c, h * w * c));
  return normalize_image(ctx, pixels_to_tensor(ctx, {count, h, w, c}, bytes), Tensor());
}

// Throws Error{kConfig} listing the keys in which a checkpoint's configuration differs from this
// run's.
void check_same_config(const std::string& saved_text, Config config, const Vfs::Path& checkpoint) {
  Config saved;
  apply_toml(config_fields(saved), saved_text, checkpoint.string());
  const auto mine = config_fields(config), theirs = config_fields(saved);
  std::string problems;
  for (size_t i = 0; i < mine.size(); ++i) {
    if (may_differ_on_resume(mine[i].key)) continue;
    for (const std::string& difference :
         differences(std::span(&theirs[i], 1), std::span(&mine[i], 1))) {
      problems += "\n  " + difference;
    }
  }
  if (!problems.empty()) {
    fail(ExitCode::kConfig, "{} was trained with another configuration (checkpoint, and now):{}",
         checkpoint.string(), problems);
  }
}

}  // namespace

Trainer::Trainer(Vfs& vfs, Vfs::Path run, const Config& config, Device& device)
    : vfs_(vfs),
      run_(std::move(run)),
      config_(config),
      device_(device),
      ctx_{.exec = device_.exec(), .allocator = &device_.allocator()},
      model_(config.model) {
  const auto all =
      open_dataset(vfs_, config_.data.path, Split::kTrain, model_.arch.encoder_resolution);
  if (all->image().channels != config_.model.image_channels) {
    fail(ExitCode::kConfig, "{}: images of {} channels, model.image_channels is {}",
         config_.data.path, all->image().channels, config_.model.image_channels);
  }
  if (all->size() - config_.data.val_images < config_.train.batch) {
    fail(ExitCode::kConfig,
         "{}: {} images less {} held out (data.val_images) are fewer than train.batch {}",
         config_.data.path, all->size(), config_.data.val_images, config_.train.batch);
  }
  const auto seed = static_cast<uint64_t>(config_.train.seed);
  HeldOut held = hold_out(all->size(), config_.data.val_images, 0);
  train_data_ = std::make_shared<Subset>(all, std::move(held.train));
  val_data_ = std::make_shared<Subset>(all, std::move(held.val));
  state_.data_fingerprint = fingerprint(*all);
  loader_ = std::make_unique<BatchLoader>(train_data_, Sampler(train_data_->size(), seed),
                                          config_.data.flip);
  Context step_ctx = ctx_;
  step_ctx.dtype = config_.train.dtype();
  model_.allocate(step_ctx, true);
  if (device_.accelerator() != nullptr && config_.train.capture) {
    step_pool_ = device_.accelerator()->private_pool();
    step_ctx.allocator = step_pool_.get();
  }
  step_ = std::make_unique<TrainingStep>(config_, model_, step_ctx);
  if (step_pool_) captured_ = std::make_unique<CapturedStep>(*step_, *device_.accelerator());
  resume();
  state_.config = config_text(config_);
  stats_ = std::make_unique<JsonlWriter>(vfs_, run_ / "stats.jsonl", state_.step);
  board_ = std::make_unique<TensorboardWriter>(vfs_, run_, unix_seconds());
  logged_step_ = state_.step;
}

void Trainer::resume() {
  remove_leftovers(vfs_, run_);
  std::vector<std::string> complaints;
  const auto checkpoint = newest_checkpoint(vfs_, run_, complaints);
  for (const std::string& complaint : complaints) note("warning: " + complaint);
  if (!checkpoint) {
    model_.initialize(static_cast<uint64_t>(config_.train.seed));
    return;
  }
  const std::string fingerprint = state_.data_fingerprint;
  state_ = load_state(vfs_, *checkpoint);
  check_same_config(state_.config, config_, *checkpoint);
  if (state_.data_fingerprint != fingerprint) {
    fail(ExitCode::kConfig, "{} was trained on other data (fingerprint {}, {} has {})",
         checkpoint->string(), state_.data_fingerprint, config_.data.path, fingerprint);
  }
  load_weights(vfs_, *checkpoint, model_);
  step_->set_updates(state_.d_updates, state_.eg_updates);
  saved_step_ = state_.step;
  note("resumed " + checkpoint->string());
}

void Trainer::start_from(const Vfs::Path& weights) {
  check(state_.step == 0, "start_from: the run is at step {}", state_.step);
  load_weights(vfs_, weights, model_);
  note(fmt::format("weights from {}", weights.string()));
}

ImageBatch Trainer::next_batch() {
  const auto start = monotonic_seconds();
  const int64_t batch = config_.train.batch, first = state_.consumed_samples;
  const LoadedBatch loaded = loader_->next(first, batch, batch);
  data_wait_seconds_ += monotonic_seconds() - start;
  const auto [h, w, c] = train_data_->image();
  state_.consumed_samples += batch;
  return image_batch(ctx_, pixels_to_tensor(ctx_, {batch, h, w, c}, loaded.pixels),
                     pixels_to_tensor(ctx_, {batch}, loaded.flip), first, batch);
}

void Trainer::train_step() {
  const auto start = monotonic_seconds();
  const int64_t this_step = state_.step + 1;
  fault_.maybe_kill(this_step, 1);
  fault_.maybe_fill_disk(this_step);
  if (fault_.makes_nan(this_step)) step_->poison_next_gradient();
  std::vector<ImageBatch> batches;
  for (int64_t i = 0; i <= config_.train.d_steps; ++i) batches.push_back(next_batch());
  if (captured_ != nullptr && !fault_.makes_nan(this_step)) {
    captured_->run(batches, this_step);
  } else {
    step_->run(batches, this_step, [&] { fault_.maybe_kill(this_step, 2); });
  }
  state_.step = this_step;
  const StepReport report = step_->report();
  state_.d_updates = step_->d_updates();
  state_.eg_updates = step_->eg_updates();
  state_.bad_in_row = report.skipped ? state_.bad_in_row + 1 : 0;
  state_.skipped_steps += report.skipped ? 1 : 0;
  const double seconds = monotonic_seconds() - start;
  state_.elapsed_seconds += seconds;
  step_seconds_ += seconds;
  if (state_.step % config_.log.every_steps == 0 || report.skipped) log(report);
  if (state_.bad_in_row >= config_.train.max_bad_steps) {
    fail(ExitCode::kNumerical,
         "step {}: NaN or Inf in a loss or gradient {} steps in a row; the last checkpoint is "
         "untouched. "
         "Lower the learning rates, or resume with another train.seed",
         state_.step, state_.bad_in_row);
  }
}

void Trainer::log(const StepReport& r) {
  const auto steps = static_cast<double>(std::max<int64_t>(1, state_.step - logged_step_));
  const double ms = 1e3 * step_seconds_ / steps;
  const double img_per_s = static_cast<double>(config_.train.batch) * 1e3 / ms;
  int64_t memory_bytes = device_.allocator().ledger().peak_total;
  if (step_pool_) memory_bytes += step_pool_->ledger().peak_total;
  const FlatJson line = {{"step", state_.step},
                         {"images", state_.consumed_samples},
                         {"elapsed_s", state_.elapsed_seconds},
                         {"img_per_s", img_per_s},
                         {"ms_per_step", ms},
                         {"ms_data_wait", 1e3 * data_wait_seconds_ / steps},
                         {"loss_d", r.d[kLossTotal]},
                         {"loss_d_x", r.d[kLossX]},
                         {"loss_d_z", r.d[kLossZ]},
                         {"loss_d_xz", r.d[kLossXZ]},
                         {"loss_eg", r.eg[kLossTotal]},
                         {"loss_eg_x", r.eg[kLossX]},
                         {"loss_eg_z", r.eg[kLossZ]},
                         {"loss_eg_xz", r.eg[kLossXZ]},
                         {"score_x_real", r.d[kScoreXReal]},
                         {"score_x_fake", r.d[kScoreXFake]},
                         {"score_z_real", r.d[kScoreZReal]},
                         {"score_z_fake", r.d[kScoreZFake]},
                         {"score_xz_real", r.d[kScoreXZReal]},
                         {"score_xz_fake", r.d[kScoreXZFake]},
                         {"grad_norm_g", r.grad_norm_g},
                         {"grad_norm_e", r.grad_norm_e},
                         {"grad_norm_d", r.grad_norm_d},
                         {"skipped_steps", state_.skipped_steps},
                         {"mem_bytes", memory_bytes}};
  stats_->write(line);
  for (const auto& [key, value] : line) {
    if (const auto* number = std::get_if<double>(&value))
      board_->scalar(key, state_.step, *number, unix_seconds());
  }
  double left = static_cast<double>(config_.train.steps - state_.step) * ms / 1e3;
  if (config_.train.minutes > 0)
    left = std::min(left, config_.train.minutes * 60 - state_.elapsed_seconds);
  progress_.update(fmt::format(
      "step {}/{} kimg {:.1f} D {:.3f} EG {:.3f} |g| {:.2f} img/s {:.0f} mem {:.2f} GiB eta {}{}",
      state_.step, config_.train.steps, static_cast<double>(state_.consumed_samples) / 1e3,
      r.d[kLossTotal], r.eg[kLossTotal], r.grad_norm_g, img_per_s,
      static_cast<double>(memory_bytes) / (1 << 30), format_duration(left),
      r.skipped ? " SKIPPED (NaN or Inf)" : ""));
  logged_step_ = state_.step;
  step_seconds_ = data_wait_seconds_ = 0;
}

void Trainer::draw_reals() {
  if (config_.sample.every_steps == 0) return;
  const int64_t count = std::min(config_.sample.images, train_data_->size());
  write_png(vfs_, run_ / "reals.png", picture_of(ctx_, first_images(ctx_, *train_data_, count), 8));
}

// Fixed latents and fixed held-out images, with the averaged weights: the pictures of a run can be
// compared. Batch statistics: the stored ones lag behind early in training.
void Trainer::draw_grids() {
  const UseAverages averages(model_);
  const Context ctx = inference_context(ctx_, BnMode::kBatch);
  const Tensor first = Tensor::zeros(ctx, {1}, DType::kI64);
  const RandomKey key{static_cast<uint64_t>(config_.train.seed), RandomStream::kSample};
  const Tensor z = prior_latents(ctx, config_.model, key, first, config_.sample.images);
  const auto draw = [&](const char* name, const Tensor& images) {
    const Image picture = picture_of(ctx, images, 8);
    write_png(vfs_, run_ / fmt::format("{}-{:08}.png", name, state_.step), picture);
    board_->image(name, state_.step, picture, unix_seconds());
  };
  draw("fakes", generate(model_, ctx, z));
  const int64_t count = std::min(config_.sample.images / 2, val_data_->size());
  if (!model_.encoder || count == 0) return;
  const Tensor x = first_images(ctx, *val_data_, count);
  draw("recon", interleaved(ctx, model_.discriminator_image(ctx, x), reconstruct(model_, ctx, x)));
}

void Trainer::save() {
  if (saved_step_ == state_.step) return;
  fault_.maybe_kill(state_.step, 3);
  stats_->sync();
  save_training(vfs_, run_, model_, state_);
  saved_step_ = state_.step;
  progress_.finish();
  announce("saved " + checkpoint_path(run_, state_.step).string());
  fault_.maybe_kill(state_.step, 4);
  prune_checkpoints(vfs_, run_, state_.step, config_.checkpoint.keep,
                    config_.checkpoint.milestone_steps);
}

void Trainer::tell_status() const {
  note(fmt::format("step {} of {}, {} of training, last checkpoint at step {}, {} steps skipped",
                   state_.step, config_.train.steps, format_duration(state_.elapsed_seconds),
                   saved_step_, state_.skipped_steps));
}

bool Trainer::finished() const {
  return state_.step >= config_.train.steps ||
         (config_.train.minutes > 0 && state_.elapsed_seconds >= config_.train.minutes * 60);
}

ExitCode Trainer::run() {
  if (state_.step == 0) {
    draw_reals();
    if (config_.sample.every_steps > 0) draw_grids();
  }
  const auto due = [&](int64_t every) { return every > 0 && state_.step % every == 0; };
  while (!finished()) {
    if (StopSignals::take_status_request()) tell_status();
    if (StopSignals::requested()) {
      save();
      note(fmt::format("stopped on request at step {}; continue with --resume {}", state_.step,
                       run_.string()));
      return ExitCode::kStopped;
    }
    train_step();
    if (due(config_.sample.every_steps)) draw_grids();
    if (due(config_.checkpoint.every_steps)) save();
  }
  if (config_.sample.every_steps > 0 && !due(config_.sample.every_steps)) draw_grids();
  save();
  return ExitCode::kOk;
}

std::string memory_plan(const Config& config) {
  constexpr int64_t kLargestMeasured = 20'000'000;
  BigBiGAN model(config.model);
  int64_t parameters = 0;
  for (ParamStore* store : model.stores()) parameters += store->parameter_count();
  constexpr double kMiB = 1 << 20;
  std::string text = fmt::format(
      "parameters {:.1f} MiB, gradients {:.1f}, Adam {:.1f}, averages {:.1f}",
      parameters * 4 / kMiB, parameters * 4 / kMiB, parameters * 8 / kMiB, parameters * 4 / kMiB);
  if (config.train.dtype() == DType::kBF16) {
    text += fmt::format(", bf16 copies of parameters {:.1f}", parameters * 2 / kMiB);
  }
  if (parameters > kLargestMeasured) {
    return text + "; activations are not measured for models over 20 million parameters on a CPU";
  }
  std::array<double, 2> peaks{};
  for (const int64_t batch : {2, 4}) {
    HostAllocator allocator;
    ThreadPool pool(usable_cores());
    const Context ctx{
        .exec = CpuExec{&pool}, .allocator = &allocator, .dtype = config.train.dtype()};
    BigBiGAN small(config.model);
    small.allocate(ctx, true);
    small.initialize(0);
    TrainingStep step(config, small, ctx);
    const int64_t r = small.arch.encoder_resolution;
    const Tensor pixels =
        Tensor::zeros(ctx, {batch, r, r, config.model.image_channels}, DType::kU8);
    const ImageBatch images = image_batch(ctx, pixels, Tensor(), 0, batch);
    step.run(std::array{images, images}, 1);
    peaks[batch == 2 ? 0 : 1] = static_cast<double>(allocator.ledger().peak_total);
  }
  const double per_image = (peaks[1] - peaks[0]) / 2;
  return text +
         fmt::format("; activations {:.2f} MiB per image; {:.1f} MiB in all at train.batch {}",
                     per_image / kMiB,
                     (peaks[0] + per_image * static_cast<double>(config.train.batch - 2)) / kMiB,
                     config.train.batch);
}

}  // namespace bigbigan
