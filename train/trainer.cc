#include "train/trainer.h"

#include <fmt/format.h>

#include <utility>

#include "engine/io/hasher.h"
#include "engine/ops/image.h"
#include "engine/util/clock.h"
#include "engine/util/signals.h"
#include "engine/util/text.h"
#include "models/bigbigan/inference.h"
#include "models/bigbigan/load.h"
#include "train/measured_rewrites.h"

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
    if (mine[i].may_differ != MayDiffer::kNever) continue;
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

// Fault injection: one bit of the first weight.
void flip_bit(const Tensor& weights) {
  std::vector<std::byte> bytes(weights.view().bytes());
  weights.read(bytes.data());
  bytes[0] ^= std::byte{1};
  weights.write(bytes.data());
}

}  // namespace

std::shared_ptr<const Dataset> open_training_images(Vfs& vfs, const Config& config) {
  auto all = open_dataset(vfs, config.data.path, Split::kTrain,
                          architecture(config.model).encoder_resolution);
  if (const int64_t channels = all->image().channels; channels != config.model.image_channels) {
    fail(ExitCode::kConfig,
         "{}: images of {} channel{}, model.image_channels is {}: set it to {}, take a preset of "
         "such images, or give other --data",
         config.data.path, channels, channels == 1 ? "" : "s", config.model.image_channels,
         channels);
  }
  if (all->size() - config.data.val_images < config.train.batch) {
    fail(ExitCode::kConfig,
         "{}: {} images less {} held out (data.val_images) are fewer than train.batch {}",
         config.data.path, all->size(), config.data.val_images, config.train.batch);
  }
  return all;
}

Trainer::Trainer(Vfs& vfs, Vfs::Path run, const Config& config, Device& device, const Ranks& ranks)
    : vfs_(vfs),
      run_(std::move(run)),
      config_(config),
      device_(device),
      ranks_(ranks),
      share_(ranks.share(config.train)),
      fault_(Fault::from_environment(ranks.rank())),
      ctx_{.exec = device_.exec(), .allocator = &device_.allocator()},
      model_(config.model) {
  const auto all = open_training_images(vfs_, config_);
  const auto seed = static_cast<uint64_t>(config_.train.seed);
  HeldOut held = hold_out(all->size(), config_.data.val_images, 0);
  train_data_ = std::make_shared<Subset>(all, std::move(held.train));
  val_data_ = std::make_shared<Subset>(all, std::move(held.val));
  state_.data_fingerprint = fingerprint(*all);
  loader_ = std::make_unique<BatchLoader>(train_data_, Sampler(train_data_->size(), seed),
                                          config_.data.flip);
  Context step_ctx = ctx_;
  step_ctx.comm = ranks_.communicator();
  step_ctx.dtype = config_.train.dtype();
  model_.allocate(step_ctx, true, config_.ranks.division());
  if (device_.accelerator() != nullptr && config_.train.capture) {
    step_pool_ = device_.accelerator()->private_pool();
    step_ctx.allocator = step_pool_.get();
  }
  step_ = std::make_unique<TrainingStep>(config_, model_, step_ctx);
  if (step_pool_) captured_ = std::make_unique<CapturedStep>(*step_, *device_.accelerator());
  resume();
  state_.config = config_text(config_);
  if (ranks_.is_root()) check_room();
}

void Trainer::resume() {
  std::optional<Vfs::Path> checkpoint;
  if (ranks_.is_root()) {
    remove_leftovers(vfs_, run_);
    std::vector<std::string> complaints;
    checkpoint = newest_checkpoint(vfs_, run_, complaints);
    for (const std::string& complaint : complaints) note("warning: " + complaint);
  }
  if (const std::string path = ranks_.from_root(checkpoint ? checkpoint->string() : "");
      !path.empty()) {
    checkpoint = path;
  }
  require_equal_ranks(checkpoint);
  if (!checkpoint) {
    model_.initialize(static_cast<uint64_t>(config_.train.seed));
    state_.plain_blocks = measure_rewrites(config_, device_, ranks_, ctx_, model_);
    state_.ranks = ranks_.size();
    return;
  }
  const std::string fingerprint = state_.data_fingerprint;
  state_ = load_state(vfs_, *checkpoint);
  check_same_config(state_.config, config_, *checkpoint);
  if (state_.data_fingerprint != fingerprint) {
    fail(ExitCode::kConfig, "{} was trained on other data (fingerprint {}, {} has {})",
         checkpoint->string(), state_.data_fingerprint, config_.data.path, fingerprint);
  }
  load_training(vfs_, *checkpoint, model_);
  use_plain_blocks(model_, state_.plain_blocks);
  const std::string other_plans = take_over_plans(device_.accelerator(), state_);
  step_->set_updates(state_.d_updates, state_.eg_updates);
  saved_step_ = state_.step;
  if (ranks_.is_root()) {
    note("resumed " + checkpoint->string());
    if (!other_plans.empty()) note(other_plans);
    if (state_.ranks != ranks_.size()) {
      note(fmt::format("{} ranks before, {} now: the run goes on as it would have, up to rounding",
                       state_.ranks, ranks_.size()));
    }
  }
  state_.ranks = ranks_.size();
}

void Trainer::require_equal_ranks(const std::optional<Vfs::Path>& checkpoint) const {
  if (ranks_.size() == 1) return;
  Config mine = config_;
  Ranks::Facts facts;
  for (const ConfigField& field : config_fields(mine)) {
    if (field.may_differ != MayDiffer::kAmongRanks)
      facts.emplace_back(field.key, value_text(field));
  }
  facts.emplace_back("the program",
                     hash_of_file(vfs_, std::filesystem::canonical("/proc/self/exe")));
  facts.emplace_back("the data (fingerprint)", state_.data_fingerprint);
  if (checkpoint) {
    facts.emplace_back("the checkpoint " + checkpoint->string(),
                       hash_of_file(vfs_, *checkpoint / "MANIFEST"));
  }
  ranks_.require_equal(facts);
}

void Trainer::check_room() {
  const CheckpointConfig& c = config_.checkpoint;
  const int64_t saves = c.every_steps > 0 ? (config_.train.steps - state_.step) / c.every_steps : 0;
  const auto kept = static_cast<int64_t>(checkpoint_steps(vfs_, run_).size());
  // An old one goes when the new one is durable.
  bigbigan::check_room(vfs_, run_, std::min(saves + 1, std::max<int64_t>(1, c.keep + 1 - kept)),
                       checkpoint_bytes(model_));
}

void Trainer::start_from(const Vfs::Path& weights) {
  check(state_.step == 0, "start_from: the run is at step {}", state_.step);
  load_weights(vfs_, weights, model_);
  note(fmt::format("weights from {}", weights.string()));
}

ImageBatch Trainer::next_micro_batch() {
  const auto start = monotonic_seconds();
  const int64_t images = share_.count * ranks_.size(), first = state_.consumed_samples;
  const LoadedBatch loaded = loader_->next(first + share_.first, share_.count, images);
  data_wait_seconds_ += monotonic_seconds() - start;
  const auto [h, w, c] = train_data_->image();
  state_.consumed_samples += images;
  return image_batch(ctx_, pixels_to_tensor(ctx_, {share_.count, h, w, c}, loaded.pixels),
                     pixels_to_tensor(ctx_, {share_.count}, loaded.flip), first + share_.first,
                     config_.train.batch);
}

void Trainer::launch_step(int64_t number) {
  fault_.strike(number, 1);
  fault_.maybe_fill_disk(number);
  if (fault_.flips_bit(number)) flip_bit(model_.g_store.value);
  if (fault_.makes_nan(number)) step_->poison_next_gradient();
  std::vector<ImageBatch> batches;
  while (std::ssize(batches) < config_.train.micro_batches_per_step()) {
    batches.push_back(next_micro_batch());
  }
  if (captured_ != nullptr && !fault_.makes_nan(number)) {
    captured_->run(batches, number);
  } else {
    step_->run(batches, number, [&] { fault_.strike(number, 2); });
  }
  step_->send_report();
}

// The report of the step before is read while the device computes this one.
void Trainer::train_step() {
  const double start = timed_until_ = monotonic_seconds();
  ranks_.begin_step(state_.step + 1, last_step_seconds_);
  launch_step(state_.step + 1);
  settle();
  ++state_.step;
  unread_ = {state_.step, state_.consumed_samples};
  if (is_report_due()) settle();
  if (due(config_.ranks.compare_every_steps)) {
    ranks_.compare_replicas(model_.stores(), state_.step);
  }
  add_time();
  last_step_seconds_ = timed_until_ - start;
}

void Trainer::add_time() {
  const double now = monotonic_seconds(), seconds = now - timed_until_;
  state_.elapsed_seconds += seconds;
  step_seconds_ += seconds;
  timed_until_ = now;
}

bool Trainer::is_report_due() const {
  return due(config_.log.every_steps) || due(config_.sample.every_steps) ||
         due(config_.checkpoint.every_steps);
}

void Trainer::read_report() {
  const LaunchedStep step = *std::exchange(unread_, std::nullopt);
  const StepReport report = [&] {
    const auto waiting = ranks_.waiting_for_device();
    StepReport received = step_->receive_report();
    ranks_.stay_if_device_failed();
    return received;
  }();
  add_time();
  state_.d_updates = report.d_updates;
  state_.eg_updates = report.eg_updates;
  state_.bad_in_row = report.skipped ? state_.bad_in_row + 1 : 0;
  state_.skipped_steps += report.skipped ? 1 : 0;
  if (log_ && (step.number % config_.log.every_steps == 0 || report.skipped)) {
    log_->write({.step = step.number,
                 .images = step.consumed_samples,
                 .skipped_steps = state_.skipped_steps,
                 .memory_bytes = device_.allocator().ledger().peak_total,
                 .elapsed_seconds = state_.elapsed_seconds,
                 .step_seconds = std::exchange(step_seconds_, 0),
                 .data_wait_seconds = std::exchange(data_wait_seconds_, 0)},
                report);
  }
  if (state_.bad_in_row >= config_.train.max_bad_steps) {
    fail(
        ExitCode::kNumerical,
        "step {}: NaN or Inf in a loss or gradient {} steps in a row (train.max_bad_steps). "
        "Continued, the run would come here again: start another with lower optim.g_lr, optim.d_lr "
        "and optim.e_lr{}",
        step.number, state_.bad_in_row,
        saved_step_ < 0 ? ""
                        : fmt::format(", from the weights of step {} with --init-from {}",
                                      saved_step_, run_.string()));
  }
}

void Trainer::draw_reals() {
  if (config_.sample.every_steps == 0) return;
  const int64_t count = std::min(config_.sample.images, train_data_->size());
  write_png(vfs_, run_ / "reals.png", picture_of(ctx_, first_images(ctx_, *train_data_, count), 8));
}

// Fixed latents and fixed held-out images, with the averaged weights: the pictures of a run can be
// compared. Batch statistics: the stored ones lag behind early in training.
void Trainer::draw_grids() {
  const Ranks::InPhase phase(ranks_, Phase::kPictures);
  const UseAverages averages(model_);
  if (ranks_.is_root()) draw_grids_here();
  ranks_.meet();
}

void Trainer::draw_grids_here() {
  const Context ctx = inference_context(ctx_, BnMode::kBatch);
  const Tensor first = Tensor::zeros(ctx, {1}, DType::kI64);
  const RandomKey key{static_cast<uint64_t>(config_.train.seed), RandomStream::kSample};
  const Tensor z = prior_latents(ctx, config_.model, key, first, config_.sample.images);
  const auto draw = [&](const char* name, const Tensor& images) {
    log_->write_picture(name, state_.step, picture_of(ctx, images, 8));
  };
  draw("fakes", generate(model_, ctx, z));
  const int64_t count = std::min(config_.sample.images / 2, val_data_->size());
  if (!model_.encoder || count == 0) return;
  const Tensor x = first_images(ctx, *val_data_, count);
  draw("recon", interleaved(ctx, model_.discriminator_image(ctx, x), reconstruct(model_, ctx, x)));
}

void Trainer::save() {
  settle();
  if (saved_step_ == state_.step) return;
  const Ranks::InPhase phase(ranks_, Phase::kCheckpoint);
  ranks_.compare_replicas(model_.stores(), state_.step);
  fault_.strike(state_.step, 3);
  if (ranks_.is_root()) log_->sync();
  if (device_.accelerator() != nullptr) state_.plans = device_.accelerator()->plans();
  save_training(vfs_, run_, model_, state_, ranks_.is_root());
  if (ranks_.is_root()) {
    log_->finish_line();
    announce("saved " + checkpoint_path(run_, state_.step).string());
  }
  saved_step_ = state_.step;
  fault_.strike(state_.step, 4);
  if (ranks_.is_root()) {
    prune_checkpoints(vfs_, run_, state_.step, config_.checkpoint.keep,
                      config_.checkpoint.milestone_steps);
  }
  ranks_.meet();
}

void Trainer::tell_status() {
  settle();
  note(fmt::format("step {} of {}, {} of training, last checkpoint at step {}, {} steps skipped",
                   state_.step, config_.train.steps, format_duration(state_.elapsed_seconds),
                   saved_step_, state_.skipped_steps));
}

bool Trainer::is_time_over() const {
  return config_.train.minutes > 0 && state_.elapsed_seconds >= config_.train.minutes * 60;
}

bool Trainer::finished() const {
  if (state_.step >= config_.train.steps) return true;
  if (config_.train.minutes == 0) return false;
  return ranks_.any(ranks_.is_root() && is_time_over());  // rank 0's clock counts
}

ExitCode Trainer::run() {
  const Ranks::InPhase phase(ranks_, Phase::kStep);
  if (ranks_.is_root()) log_ = std::make_unique<RunLog>(vfs_, run_, config_, state_.step);
  if (state_.step == 0) {
    if (ranks_.is_root()) draw_reals();
    if (config_.sample.every_steps > 0) draw_grids();
  }
  if (ranks_.is_root() && (state_.step >= config_.train.steps || is_time_over())) {
    note(fmt::format("nothing is left of train.steps={} or train.minutes={}: give more",
                     config_.train.steps, config_.train.minutes));
  }
  while (!finished()) {
    if (StopSignals::take_status_request() && ranks_.is_root()) tell_status();
    if (!fault_.skips_collective(state_.step) && ranks_.any(StopSignals::requested())) {
      save();
      if (ranks_.is_root()) {
        note(fmt::format("stopped on request at step {}; continue with --resume {}", state_.step,
                         run_.string()));
      }
      return ExitCode::kStopped;
    }
    train_step();
    if (due(config_.sample.every_steps)) draw_grids();
    if (due(config_.checkpoint.every_steps)) save();
  }
  settle();
  if (config_.sample.every_steps > 0 && !due(config_.sample.every_steps)) draw_grids();
  save();
  return ExitCode::kOk;
}

}  // namespace bigbigan
