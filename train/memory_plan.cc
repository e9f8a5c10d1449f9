#include "train/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/comm/communicator.h"
#include "engine/util/text.h"
#include "models/bigbigan/inference.h"
#include "train/step.h"

namespace bigbigan {
namespace {

// Ranks that are not there: a plan sends nothing.
class PlannedRanks final : public Communicator {
 public:
  explicit PlannedRanks(int size) : size_(size) {}
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return size_; }
  void all_reduce_sum(View) override {}
  void reduce_scatter_sum(View, View) override {}
  void all_gather(ConstView, View) override {}
  void broadcast(View, int) override {}
  void barrier() override {}

 private:
  int size_;
};

std::vector<ImageBatch> planned_batches(const Context& ctx, const Config& config,
                                        const BigBiGAN& model, int64_t images) {
  const int64_t r = model.arch.encoder_resolution;
  std::vector<ImageBatch> batches;
  for (int64_t i = 0; i < config.train.micro_batches_per_step(); ++i) {
    const auto bytes = [&](const Shape& shape) {
      return Tensor::empty(ctx, shape, DType::kU8, MemoryTag::kData);
    };
    batches.push_back(image_batch(ctx, bytes({images, r, r, config.model.image_channels}),
                                  bytes({images}), 0, config.train.batch));
  }
  return batches;
}

// The pictures of samples and reconstructions.
void plan_pictures(const Context& ctx, const Config& config, const BigBiGAN& model) {
  if (config.sample.every_steps == 0) return;
  const Context draw = inference_context(ctx, BnMode::kBatch);
  const auto images = [&](int64_t count, int64_t r) {
    return Tensor::empty(draw, {count, r, r, config.model.image_channels}, draw.dtype);
  };
  const int64_t count = config.sample.images;
  generate(model, draw, Tensor::empty(draw, {count, config.model.z_dim}, draw.dtype));
  if (!model.encoder || count < 2) return;
  reconstruct(model, draw, images(count / 2, model.arch.encoder_resolution));
}

bool fits(const Config& config, Device& device, int ranks, int64_t bytes) {
  return plan_memory(config, device, ranks).peak_held <= bytes;
}

// What would fit, each by itself; first what changes the training least.
std::string advice(const Config& config, Device& device, int ranks, int64_t free_bytes) {
  std::vector<std::string> ways;
  if (const int64_t parts = fewest_micro_batches(config, device, ranks, free_bytes); parts > 0) {
    ways.push_back(fmt::format(
        "train.micro_batches={} (the same but for batch norm's statistics, of parts of a batch)",
        parts));
  }
  Config rounded = config;
  rounded.train.precision = "bf16";
  if (config.train.precision != "bf16" && fits(rounded, device, ranks, free_bytes)) {
    ways.emplace_back("train.precision=bf16");
  }
  if (const int64_t batch = largest_batch(config, device, ranks, free_bytes); batch > 0) {
    ways.push_back(fmt::format("train.batch={}, the largest", batch));
  }
  if (ways.empty()) return "no train.batch fits: use narrower networks or another device";
  return fmt::format("by the memory plan it fits with {}", fmt::join(ways, ", or with "));
}

}  // namespace

MemoryLedger plan_memory(const Config& config, Device& device, int ranks) {
  const int64_t images = config.train.images_at_a_time(ranks);
  const auto account = std::make_shared<MemoryAccount>();
  const auto planned_pool = [&] {
    return PoolAllocator(std::make_unique<PlanMemory>(), 0, PoolAllocator::Pooling::kForGood,
                         account);
  };
  PoolAllocator pool = planned_pool(), step_pool = planned_pool();
  PlannedRanks others(ranks);
  const bool is_captured = device.accelerator() != nullptr && config.train.capture;
  const Context ctx{.exec = device.exec(), .allocator = &pool, .plan_only = true};
  Context step_ctx = ctx;
  step_ctx.comm = ranks > 1 ? &others : nullptr;
  step_ctx.dtype = config.train.dtype();
  BigBiGAN model(config.model);
  model.allocate(step_ctx, true, config.ranks.division());
  if (is_captured) step_ctx.allocator = &step_pool;
  TrainingStep step(config, model, step_ctx);
  plan_pictures(ctx, config, model);
  const std::vector<ImageBatch> first = planned_batches(ctx, config, model, images);
  step.run(first, 1);
  // A captured step keeps the first batches as its inputs.
  if (is_captured) step.run(planned_batches(ctx, config, model, images), 2);
  return pool.ledger();
}

int64_t fewest_micro_batches(const Config& config, Device& device, int ranks, int64_t bytes) {
  const int64_t most = config.train.batch / ranks;
  for (int64_t parts = config.train.micro_batches + 1; parts <= most; ++parts) {
    if (most % parts != 0) continue;
    // Each part alone, before all of them are planned one after another.
    Config part = config, all = config;
    part.train.batch = config.train.batch / parts;
    part.train.micro_batches = 1;
    all.train.micro_batches = parts;
    if (fits(part, device, ranks, bytes) && fits(all, device, ranks, bytes)) return parts;
  }
  return 0;
}

int64_t largest_batch(const Config& config, Device& device, int ranks, int64_t bytes) {
  const int64_t parts = config.train.micro_batches * ranks;
  const auto held = [&](int64_t images) {
    Config smaller = config;
    smaller.train.batch = images * parts;
    return plan_memory(smaller, device, ranks).peak_held;
  };
  const int64_t most = config.train.batch / parts, half = std::max<int64_t>(1, most / 2);
  const int64_t at_most = held(most), at_half = held(half);
  if (most == half || at_most == at_half) return 0;
  // Memory grows with the batch by about so much per image.
  const double per_image =
      static_cast<double>(at_most - at_half) / static_cast<double>(most - half);
  const auto guess = half + static_cast<int64_t>(static_cast<double>(bytes - at_half) / per_image);
  int64_t images = std::clamp<int64_t>(guess, 1, most - 1);
  while (images > 0 && held(images) > bytes) images -= std::max<int64_t>(1, images / 16);
  return images * parts;
}

std::string memory_plan_text(const Config& config, Device& device, int ranks) {
  const MemoryLedger plan = plan_memory(config, device, ranks);
  std::string text =
      fmt::format("# Memory plan for train.batch = {}{}: {}; most at a time by tag: {}",
                  config.train.batch, ranks == 1 ? "" : fmt::format(", each of {} ranks", ranks),
                  format_bytes(plan.peak_held), largest_tags(plan.peak));
  const auto room = device.allocator().memory().room();
  if (!room) return text;
  text += fmt::format("\n# The device has {} free of {}: ", format_bytes(room->free_bytes),
                      format_bytes(room->total_bytes));
  return text + (plan.peak_held <= room->free_bytes
                     ? "it fits"
                     : advice(config, device, ranks, room->free_bytes));
}

std::string out_of_memory_advice(const Config& config, Device& device, int ranks,
                                 int64_t free_bytes) {
  const int64_t planned = plan_memory(config, device, ranks).peak_held;
  if (planned > free_bytes) return advice(config, device, ranks, free_bytes);
  return fmt::format(
      "the memory plan needs {}, {} were free at the start: does another program "
      "use the device? Else raise train.micro_batches",
      format_bytes(planned), format_bytes(free_bytes));
}

}  // namespace bigbigan
