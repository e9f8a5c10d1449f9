// Whole training steps of ranks on GPUs: what one GPU computes with the whole batch, launched one
// by one and recorded.
#include <catch2/catch.hpp>
#include <map>

#include "kernels/random/philox.h"
#include "models/bigbigan/weights.h"
#include "tests/cuda/ranks/gpu_ranks.h"
#include "tests/models/small_model.h"
#include "train/captured_step.h"

using namespace bigbigan;

namespace {

constexpr int64_t kBatch = 4;
constexpr int kSteps = 2;  // where launches are recorded, the second is

Config training_config() {
  Config c;
  c.model = small_config();
  c.model.image_channels = 1;
  c.model.z_dim = 4;
  c.model.g_channels = c.model.d_channels = {4, 4, 4, 4};
  c.model.mlp_width = 4;
  c.model.mlp_blocks = 1;
  c.model.encoder_channels = {4, 4};
  c.train.batch = kBatch;
  c.train.d_steps = 1;
  c.train.ema_start = 1;
  c.train.ema_decay = 0.9;
  c.optim = {.g_lr = 1e-3, .d_lr = 2e-3, .e_lr = 1e-3, .beta1 = 0.5};
  return c;
}

// Every array of every store, by name.
using Arrays = std::map<std::string, std::vector<double>>;

Arrays arrays_of(BigBiGAN& model) {
  Arrays all;
  for (const ParamStore* store : model.stores()) {
    for (const auto& [name, tensor] : {std::pair{"value", &store->value},
                                       {"grad", &store->grad},
                                       {"m", &store->adam_m},
                                       {"v", &store->adam_v},
                                       {"ema", &store->ema},
                                       {"statistics", &store->statistics}}) {
      if (*tensor) all[std::string(store->name()) + " " + name] = read(*tensor);
    }
  }
  return all;
}

// What training leaves after the first step, and after the last.
struct Trained {
  std::vector<StepReport> reports;
  Arrays first, last;
  std::vector<std::vector<std::byte>> saved;  // all that a checkpoint would hold of the model
};

// Images [first, first + count) of each batch; noise that depends on their number alone.
std::vector<ImageBatch> batches_of(const Context& ctx, int step, int64_t first, int64_t count) {
  std::vector<ImageBatch> batches;
  for (int64_t i = 0; i < 2; ++i) {
    const int64_t sample = (2 * step + i) * kBatch + first;
    const Shape shape{count, 32, 32, 1};
    std::vector<uint8_t> pixels(shape.elems());
    for (size_t j = 0; j < pixels.size(); ++j) {
      pixels[j] =
          static_cast<uint8_t>(philox(9, RandomStream::kSample, sample * 32 * 32 + j, 0).word[0]);
    }
    batches.push_back(image_batch(ctx, Tensor::from_host(ctx, shape, DType::kU8, pixels.data()),
                                  Tensor(), sample, kBatch));
  }
  return batches;
}

Trained train(const Config& config, Accelerator& device, Communicator* comm, int64_t first,
              int64_t count, int steps, bool record) {
  const Context batches{.exec = device.exec(), .allocator = &device.allocator()};
  const std::unique_ptr<Allocator> pool = device.private_pool();
  Context ctx = batches;
  ctx.comm = comm;
  BigBiGAN model(config.model);
  model.allocate(ctx, true, config.ranks.division());
  model.initialize(5);
  ctx.allocator = pool.get();
  TrainingStep step(config, model, ctx);
  CapturedStep captured(step, device);
  Trained trained;
  for (int s = 1; s <= steps; ++s) {
    const std::vector<ImageBatch> images = batches_of(batches, s, first, count);
    if (record) captured.run(images, s);
    if (!record) step.run(images, s);
    trained.reports.push_back(step.report());
    if (s == 1) trained.first = arrays_of(model);
  }
  trained.last = arrays_of(model);
  for (const WeightSet set : {WeightSet::kLive, WeightSet::kEma, WeightSet::kAdam}) {
    for (auto& bytes : export_weights(model, set).storage) trained.saved.push_back(bytes);
  }
  return trained;
}

std::vector<Trained> train_world(const Config& config, const std::vector<int64_t>& counts,
                                 bool record) {
  std::vector<Trained> all(counts.size());
  run_gpu_ranks(static_cast<int>(counts.size()), [&](GpuRank& rank) {
    const int r = rank.comm->rank();
    int64_t first = 0;
    for (int i = 0; i < r; ++i) first += counts[i];
    all[r] = train(config, *rank.device, rank.comm.get(), first, counts[r], kSteps, record);
  });
  return all;
}

double distance(const std::array<double, kLossTermCount>& a,
                const std::array<double, kLossTermCount>& b) {
  return relative_distance({a.begin(), a.end()}, {b.begin(), b.end()});
}

void check_same(const Trained& found, const Trained& expected) {
  CHECK(found.last == expected.last);
  for (int s = 0; s < kSteps; ++s) {
    CHECK(!found.reports[s].skipped);
    CHECK(found.reports[s].d == expected.reports[s].d);
    CHECK(found.reports[s].eg == expected.reports[s].eg);
  }
}

}  // namespace

TEST_CASE(
    "GPU ranks: the first step is that of one GPU with the whole batch; recorded, the same bits") {
  const Trained alone = [] {
    const std::unique_ptr<Accelerator> device = open_cuda(0);
    return train(training_config(), *device, nullptr, 0, kBatch, 1, false);
  }();
  const std::vector<int64_t> counts = {3, 1, 0};
  const std::vector<Trained> world = train_world(training_config(), counts, false);
  CHECK(distance(world[0].reports[0].d, alone.reports[0].d) < 1e-5);
  CHECK(distance(world[0].reports[0].eg, alone.reports[0].eg) < 1e-5);
  for (const auto& [name, expected] : alone.first) {
    INFO(name);
    const bool is_value = name.ends_with("value") || name.ends_with("ema");
    CHECK(relative_distance(world[0].first.at(name), expected) < (is_value ? 1e-2 : 1e-5));
  }
  const std::vector<Trained> recorded = train_world(training_config(), counts, true);
  for (size_t r = 0; r < counts.size(); ++r) {
    INFO("rank " << r);
    check_same(world[r], world[0]);
    check_same(recorded[r], world[r]);
  }
}

// The stand-in for NCCL adds in rank order, whichever collective.
TEST_CASE("GPU ranks: a sharded optimiser, recorded, leaves the bits of one that is not") {
  Config config = training_config();
  config.ranks.bucket_mib = 1.0 / 1024;
  config.ranks.gradient_dtype = "bf16";
  const std::vector<int64_t> counts = {3, 1};
  const std::vector<Trained> expected = train_world(config, counts, false);
  config.ranks.shard_optimizer = true;
  const std::vector<Trained> found = train_world(config, counts, true);
  for (size_t r = 0; r < counts.size(); ++r) {
    INFO("rank " << r);
    CHECK((found[r].saved == expected[0].saved));
    for (int s = 0; s < kSteps; ++s) {
      CHECK(found[r].reports[s].grad_norm_d ==
            Approx(expected[0].reports[s].grad_norm_d).epsilon(1e-6));
    }
  }
}

// Where weights stay, every step can be compared as the first one can.
TEST_CASE(
    "GPU ranks: a recorded step of 2, 3 and 4 GPUs is that of one; twice, it has the same bits",
    "[.world_sizes]") {
  Config config = training_config();
  config.optim.g_lr = config.optim.d_lr = config.optim.e_lr = 0;
  const Trained alone = [&] {
    const std::unique_ptr<Accelerator> device = open_cuda(0);
    return train(config, *device, nullptr, 0, kBatch, kSteps, true);
  }();
  for (const auto& counts : {std::vector<int64_t>{2, 2}, {2, 1, 1}, {1, 1, 1, 1}}) {
    INFO(counts.size() << " ranks");
    const std::vector<Trained> world = train_world(config, counts, true);
    CHECK(distance(world[0].reports[1].d, alone.reports[1].d) < 1e-5);
    CHECK(distance(world[0].reports[1].eg, alone.reports[1].eg) < 1e-5);
    for (const auto& [name, expected] : alone.last) {
      INFO(name);
      CHECK(relative_distance(world[0].last.at(name), expected) < 1e-5);
    }
    for (const Trained& rank : world) check_same(rank, world[0]);
    if (counts.size() != 3) continue;
    const std::vector<Trained> again = train_world(config, counts, true);
    for (size_t r = 0; r < counts.size(); ++r) check_same(again[r], world[r]);
  }
}
