// Which form a block gets, and that it is the one that was timed. Note [Measured rewrites].
#include <array>
#include <catch2/catch.hpp>

#include "engine/io/npy.h"
#include "tests/engine_io/scratch.h"
#include "tests/harness/launch_recorder.h"
#include "tests/models/small_model.h"
#include "train/measured_rewrites.h"
#include "train/trainer.h"

using namespace bigbigan;

namespace {

// Folded weights, forward and backward, of a pass of the block alone.
int folds_of(const RewritableBlock& block, Context ctx) {
  LaunchRecorder calls;
  ctx.exec = CpuExec{nullptr, &calls};
  block.pass(ctx, 2)();
  CHECK(calls.counts()["conv2d_fprop"] + calls.counts()["conv2d_dgrad"] >= 3);
  CHECK(calls.counts()["conv2d_wgrad"] == 3);
  int folds = 0;
  for (const auto& [launcher, count] : calls.counts()) {
    if (launcher.starts_with("fold_")) folds += count;
  }
  return folds;
}

const char* const kPlain = "generator.block_1 discriminator.image.block_0";

// The rewrite costs time in the blocks of kPlain, and saves time in the others.
double seconds_by_form(const RewritableBlock& block, const Context& ctx) {
  const bool is_rewritten = folds_of(block, ctx) > 0;
  const bool is_slower = std::string(kPlain).find(block.name) != std::string::npos;
  return is_rewritten == is_slower ? 2 : 1;
}

// Trains the small model on 8 images for `steps` steps, in that run of the folder.
TrainState train(const ScratchFolder& folder, const std::string& run, int64_t steps) {
  Config c;
  c.model = small_config();
  c.model.image_channels = 1;
  c.data.path = (folder / "images.npy").string();
  c.data.val_images = 0;
  c.train.batch = 2;
  c.train.steps = steps;
  c.sample.every_steps = 0;
  PosixVfs vfs;
  Device device("cpu", 1);
  const Ranks alone;
  Trainer trainer(vfs, folder / run, c, device, alone);
  REQUIRE(trainer.run() == ExitCode::kOk);
  return trainer.state();
}

// Saves the newest checkpoint of the run again, with this list.
void set_plain_blocks(const Vfs::Path& run, const std::string& names) {
  PosixVfs vfs;
  std::vector<std::string> complaints;
  const Vfs::Path checkpoint = *newest_checkpoint(vfs, run, complaints);
  TrainState state = load_state(vfs, checkpoint);
  Config c;
  apply_toml(config_fields(c), state.config, "state");
  HostAllocator allocator;
  BigBiGAN model(c.model);
  model.allocate({.exec = CpuExec{}, .allocator = &allocator}, true);
  load_training(vfs, checkpoint, model);
  state.plain_blocks = names;
  save_training(vfs, run, model, state, true);
}

}  // namespace

TEST_CASE("measured rewrites: every block gets its faster form") {
  SmallModel small(small_config());
  BigBiGAN& model = small.model;
  CHECK(model.rewritable_blocks().size() == 6);  // G has three blocks, D three that halve
  const std::string plain = choose_rewrites(
      model, [&](const RewritableBlock& b) { return seconds_by_form(b, small.ctx); });
  CHECK(plain == kPlain);
  for (const RewritableBlock& block : model.rewritable_blocks()) {
    INFO(block.name);
    CHECK(seconds_by_form(block, small.ctx) == 1);
  }
}

TEST_CASE("measured rewrites: with forms mixed a model is the same function") {
  const auto terms = [](SmallModel& m) {
    const StepInputs in = m.inputs(0, 3, 3);
    std::vector<double> all = read(m.model.discriminator_gradients(m.ctx, in));
    const std::vector<double> eg = read(m.model.encoder_generator_gradients(m.ctx, in));
    all.insert(all.end(), eg.begin(), eg.end());
    return all;
  };
  SmallModel all(small_config()), mixed(small_config());
  use_plain_blocks(mixed.model, kPlain);
  CHECK(relative_distance(terms(mixed), terms(all)) <= 1e-12);
  CHECK(relative_distance(read(mixed.model.g_store.grad), read(all.model.g_store.grad)) <= 1e-11);
  CHECK(relative_distance(read(mixed.model.d_store.grad), read(all.model.d_store.grad)) <= 1e-11);
}

TEST_CASE("measured rewrites: in bf16 a block by itself computes in both forms") {
  SmallModel small(small_config(), DType::kBF16);
  for (const RewritableBlock& block : small.model.rewritable_blocks()) {
    block.choose(false);
    CHECK(folds_of(block, small.ctx) == 0);
    block.choose(true);
    CHECK(folds_of(block, small.ctx) > 0);
  }
}

TEST_CASE("measured rewrites: a list that names no block is refused") {
  SmallModel small(small_config());
  CHECK_THROWS_WITH(use_plain_blocks(small.model, "generator.block_1 generator.block_9"),
                    Catch::Contains("generator.block_9"));
}

TEST_CASE("measured rewrites: a run that goes on keeps the forms of its checkpoint") {
  const ScratchFolder folder;
  PosixVfs vfs;
  const std::vector<uint8_t> pixels(8 * 32 * 32, 99);
  write_npy(vfs, folder / "images.npy", DType::kU8, std::array<int64_t, 3>{8, 32, 32},
            std::as_bytes(std::span(pixels)));
  const auto weights_after = [&](const std::string& run, const char* plain) {
    std::filesystem::create_directories(folder / run);
    train(folder, run, 1);
    set_plain_blocks(folder / run, plain);
    CHECK(train(folder, run, 2).plain_blocks == plain);
    return read_raw(folder / run / "step-00000002/model.safetensors");
  };
  const std::string weights = weights_after("all", "");
  CHECK((weights_after("again", "") == weights));
  CHECK((weights_after("mixed", kPlain) != weights));  // in last bits
}
