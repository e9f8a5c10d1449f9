#include "train/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/util/text.h"
#include "models/bigbigan/inference.h"
#include "train/step.h"

namespace bigbigan {
namespace {

std::vector<ImageBatch> planned_batches(const Context& ctx, const Config& config,
                                        const BigBiGAN& model, int64_t batch) {
  const int64_t r = model.arch.encoder_resolution;
  std::vector<ImageBatch> batches;
  for (int64_t i = 0; i <= config.train.d_steps; ++i) {
    const auto bytes = [&](const Shape& shape) {
      return Tensor::empty(ctx, shape, DType::kU8, MemoryTag::kData);
    };
    batches.push_back(image_batch(ctx, bytes({batch, r, r, config.model.image_channels}),
                                  bytes({batch}), 0, batch));
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

std::string advice(const Config& config, Device& device, int64_t free_bytes) {
  const int64_t batch = largest_batch(config, device, free_bytes);
  if (batch == 0) return "no train.batch fits: use narrower networks or another device";
  return fmt::format("train.batch={} is the largest that fits by the memory plan", batch);
}

}  // namespace

MemoryLedger plan_memory(const Config& config, Device& device, int64_t batch) {
  const auto account = std::make_shared<MemoryAccount>();
  const auto planned_pool = [&] {
    return PoolAllocator(std::make_unique<PlanMemory>(), 0, PoolAllocator::Pooling::kForGood,
                         account);
  };
  PoolAllocator pool = planned_pool(), step_pool = planned_pool();
  const bool is_captured = device.accelerator() != nullptr && config.train.capture;
  const Context ctx{.exec = device.exec(), .allocator = &pool, .plan_only = true};
  Context step_ctx = ctx;
  step_ctx.dtype = config.train.dtype();
  BigBiGAN model(config.model);
  model.allocate(step_ctx, true);
  if (is_captured) step_ctx.allocator = &step_pool;
  TrainingStep step(config, model, step_ctx);
  plan_pictures(ctx, config, model);
  const std::vector<ImageBatch> first = planned_batches(ctx, config, model, batch);
  step.run(first, 1);
  // A captured step keeps the first batches as its inputs.
  if (is_captured) step.run(planned_batches(ctx, config, model, batch), 2);
  return pool.ledger();
}

int64_t largest_batch(const Config& config, Device& device, int64_t bytes) {
  const auto held = [&](int64_t batch) { return plan_memory(config, device, batch).peak_held; };
  const int64_t most = config.train.batch, half = std::max<int64_t>(1, most / 2);
  const int64_t at_most = held(most);
  if (at_most <= bytes) return most;
  const int64_t at_half = held(half);
  if (most == half || at_most == at_half) return 0;
  // Memory grows with the batch by about so much per image.
  const double per_image =
      static_cast<double>(at_most - at_half) / static_cast<double>(most - half);
  const auto guess = half + static_cast<int64_t>(static_cast<double>(bytes - at_half) / per_image);
  int64_t batch = std::clamp<int64_t>(guess, 1, most - 1);
  while (batch > 0 && held(batch) > bytes) batch -= std::max<int64_t>(1, batch / 16);
  return batch;
}

std::string memory_plan_text(const Config& config, Device& device) {
  const MemoryLedger plan = plan_memory(config, device, config.train.batch);
  std::string text =
      fmt::format("# Memory plan for train.batch = {}: {}; most at a time by tag: {}",
                  config.train.batch, format_bytes(plan.peak_held), largest_tags(plan.peak));
  const auto room = device.allocator().memory().room();
  if (!room) return text;
  text += fmt::format("\n# The device has {} free of {}: ", format_bytes(room->free_bytes),
                      format_bytes(room->total_bytes));
  return text + (plan.peak_held <= room->free_bytes ? "it fits"
                                                    : advice(config, device, room->free_bytes));
}

std::string out_of_memory_advice(const Config& config, Device& device, int64_t free_bytes) {
  const int64_t planned = plan_memory(config, device, config.train.batch).peak_held;
  if (planned > free_bytes) return advice(config, device, free_bytes);
  return fmt::format(
      "the memory plan needs {}, {} were free at the start: does another program "
      "use the device? Else lower train.batch",
      format_bytes(planned), format_bytes(free_bytes));
}

}  // namespace bigbigan
