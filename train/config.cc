#include "train/config.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/util/text.h"
#include "kernels/common/error.h"
#include "train/presets.h"

namespace bigbigan {
namespace {

ConfigField free_on_resume(ConfigField field) {
  field.may_differ = MayDiffer::kOnResume;
  return field;
}

ConfigField free_among_ranks(ConfigField field) {
  field.may_differ = MayDiffer::kAmongRanks;
  return field;
}

constexpr double kMany = 1e12;

std::vector<ConfigField> fields_of(DataConfig& c) {
  return {
      free_among_ranks({"data.path", &c.path, "folder with IDX files, or .npy file of images"}),
      {"data.flip", &c.flip, "mirror training images left to right at random"},
      {"data.val_images", &c.val_images,
       "training images held out for choosing models and settings", 0, kMany},
  };
}

std::vector<ConfigField> fields_of(TrainConfig& c) {
  return {
      free_on_resume({"train.steps", &c.steps,
                      "steps to train: d_steps updates of D each, and one of G and E", 1, kMany}),
      free_on_resume({"train.minutes", &c.minutes,
                      "stop after this time of training, with a checkpoint; 0: no limit", 0,
                      kMany}),
      {"train.batch", &c.batch, "images per update, over all ranks", 1, 1 << 20},
      {"train.micro_batches", &c.micro_batches,
       "parts of the batch, computed one after another in the memory of one; batch norm takes the "
       "statistics of each part",
       1, 1 << 20},
      {"train.d_steps", &c.d_steps, "updates of D per step", 1, 64},
      {"train.ema_decay", &c.ema_decay, "decay of the moving averages of G and E", 0, 1},
      {"train.ema_start", &c.ema_start, "before this step the averages equal the live weights", 0,
       kMany},
      {"train.seed", &c.seed, "seed of initial weights, latents, noise and data order", 0, kMany},
      free_among_ranks(
          {"train.threads", &c.threads, "CPU threads; 0: the cores this process may use", 0, 1024}),
      free_on_resume({"train.max_bad_steps", &c.max_bad_steps,
                      "steps skipped in a row for NaN or Inf before the run ends with exit 79", 1,
                      kMany}),
      free_on_resume({"train.capture", &c.capture,
                      "on a GPU, record the launches of a step once and replay them"}),
      {"train.measure_rewrites", &c.measure_rewrites,
       "on a GPU, time each block of G and D with and without its exact rewrite before step 1, and "
       "take the faster"},
      {.key = "train.precision",
       .value = &c.precision,
       .doc = "dtype of activations; with bf16, weights are kept and pictures drawn in f32",
       .choices = {"f32", "bf16"}},
  };
}

std::vector<ConfigField> fields_of(OptimConfig& c) {
  return {
      {"optim.g_lr", &c.g_lr, "Adam's learning rate of G", 0, 1},
      {"optim.d_lr", &c.d_lr, "Adam's learning rate of D", 0, 1},
      {"optim.e_lr", &c.e_lr, "Adam's learning rate of E", 0, 1},
      {"optim.beta1", &c.beta1, "Adam's decay of the mean", 0, 0.999999},
      {"optim.beta2", &c.beta2, "Adam's decay of the square", 0, 0.999999},
      {"optim.eps", &c.eps, "Adam's epsilon", 0, 1},
  };
}

std::vector<ConfigField> fields_of(CheckpointConfig& c) {
  return {
      free_on_resume({"checkpoint.every_steps", &c.every_steps,
                      "steps between two checkpoints; 0: one at the end", 0, kMany}),
      free_on_resume({"checkpoint.keep", &c.keep, "newest checkpoints kept", 1, kMany}),
      free_on_resume({"checkpoint.milestone_steps", &c.milestone_steps,
                      "multiples of this are kept for ever; 0: none", 0, kMany}),
  };
}

std::vector<ConfigField> fields_of(LogConfig& c) {
  return {
      free_on_resume(
          {"log.every_steps", &c.every_steps, "steps between two lines of stats.jsonl", 1, kMany}),
  };
}

std::vector<ConfigField> fields_of(SampleConfig& c) {
  return {
      free_on_resume({"sample.every_steps", &c.every_steps,
                      "steps between two grids of samples and reconstructions; 0: none", 0, kMany}),
      free_on_resume({"sample.images", &c.images, "images in a grid", 1, 4096}),
  };
}

std::vector<ConfigField> fields_of(RanksConfig& c) {
  return {
      free_on_resume({"ranks.setup_seconds", &c.setup_seconds,
                      "many ranks: seconds that one may be late in set-up and in the first step", 1,
                      kMany}),
      free_on_resume({"ranks.step_seconds", &c.step_seconds,
                      "seconds late in a step, or twenty times the last step where that is more", 1,
                      kMany}),
      free_on_resume({"ranks.checkpoint_seconds", &c.checkpoint_seconds,
                      "seconds late in a checkpoint", 1, kMany}),
      free_on_resume({"ranks.picture_seconds", &c.picture_seconds,
                      "seconds late while pictures are drawn", 1, kMany}),
      free_on_resume(
          {"ranks.compare_every_steps", &c.compare_every_steps,
           "steps between two comparisons of all ranks' weights; before each checkpoint they "
           "are compared too",
           1, kMany}),
      {"ranks.bucket_mib", &c.bucket_mib,
       "MiB of gradients that are summed together, as soon as the backward pass has formed them",
       0.001, 65536},
      {.key = "ranks.gradient_dtype",
       .value = &c.gradient_dtype,
       .doc = "dtype in which gradients travel; bf16 halves the bytes and rounds them to 8 bits",
       .choices = {"f32", "bf16"}},
      free_on_resume({"ranks.shard_optimizer", &c.shard_optimizer,
                      "each of N ranks keeps an N-th of Adam's moments and moving averages: less "
                      "memory, the same results"}),
  };
}

}  // namespace

std::vector<ConfigField> config_fields(Config& c) {
  std::vector<ConfigField> fields = config_fields(c.model);
  for (const std::vector<ConfigField>& section :
       {fields_of(c.data), fields_of(c.train), fields_of(c.optim), fields_of(c.checkpoint),
        fields_of(c.log), fields_of(c.sample), fields_of(c.ranks)}) {
    fields.insert(fields.end(), section.begin(), section.end());
  }
  return fields;
}

int64_t TrainConfig::images_at_a_time(int ranks) const {
  const int64_t parts = micro_batches * ranks;
  if (batch % parts != 0) {
    const int64_t below = batch / parts * parts;
    fail(ExitCode::kConfig,
         "train.batch {} does not divide by train.micro_batches {} x {} ranks: give {}{}", batch,
         micro_batches, ranks, below > 0 ? fmt::format("{} or ", below) : "", below + parts);
  }
  return batch / parts;
}

StoreDivision RanksConfig::division() const {
  return {.bucket_bytes = std::llround(bucket_mib * (1 << 20)), .is_sharded = shard_optimizer};
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : kPresets) names.emplace_back(preset.name);
  return names;
}

std::string preset_text(const std::string& name) {
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return std::string(preset.text);
  }
  const std::string nearest = nearest_name(name, preset_names());
  fail(ExitCode::kConfig, "no preset {}{}; there are: {}", name,
       nearest.empty() ? "" : " (did you mean " + nearest + "?)", fmt::join(preset_names(), ", "));
}

}  // namespace bigbigan
