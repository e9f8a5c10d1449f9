// A world of thread-ranks trains like one rank that has the whole batch.
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>

#include "engine/comm/communicator.h"
#include "tests/models/small_model.h"
#include "train/step.h"

using namespace bigbigan;

namespace {

constexpr int64_t kBatch = 8;
constexpr int kSteps = 3;

// Gradients in buckets of 1 KiB: several for each store.
const RanksConfig kSmallBuckets = {.bucket_mib = 1.0 / 1024};

Config training_config(const RanksConfig& ranks) {
  Config c;
  c.ranks = ranks;
  c.model = small_config();
  c.train.batch = kBatch;
  c.train.ema_start = 2;
  c.train.ema_decay = 0.9;
  c.optim = {.g_lr = 1e-3, .d_lr = 2e-3, .e_lr = 1e-3, .beta1 = 0.5};
  return c;
}

// One rank's training, kept so that its stores can be compared.
struct Rank {
  Config config;
  SmallModel small;
  std::vector<StepReport> reports;
  int poisoned = 0;  // the step in which a gradient is NaN; 0: none

  explicit Rank(DType dtype, const RanksConfig& ranks = kSmallBuckets)
      : config(training_config(ranks)), small(config.model, dtype) {}

  void train(Communicator* comm, int64_t first, int64_t n, int steps) {
    Context ctx = small.ctx;
    ctx.comm = comm;
    TrainingStep step(config, small.model, ctx);
    for (int s = 0; s < steps; ++s) {
      const auto batch = [&](int64_t sub_step) {
        return small.inputs((2 * s + sub_step) * kBatch + first, n, kBatch);
      };
      if (s + 1 == poisoned) step.poison_next_gradient();
      step.begin();
      step.discriminator_update(batch(0));
      step.encoder_generator_update(batch(1), s + 1);
      reports.push_back(step.report());
    }
  }
};

using World = std::vector<std::unique_ptr<Rank>>;

World new_world(DType dtype, size_t ranks, const RanksConfig& config = kSmallBuckets) {
  World world;
  for (size_t r = 0; r < ranks; ++r) world.push_back(std::make_unique<Rank>(dtype, config));
  return world;
}

void train_together(World& world, const std::vector<int64_t>& samples, int steps) {
  run_thread_ranks(static_cast<int>(samples.size()), [&](Communicator& comm) {
    int64_t first = 0;
    for (int r = 0; r < comm.rank(); ++r) first += samples[r];
    world[comm.rank()]->train(&comm, first, samples[comm.rank()], steps);
  });
}

World train_world(DType dtype, const std::vector<int64_t>& samples, int steps,
                  const RanksConfig& config = kSmallBuckets) {
  World world = new_world(dtype, samples.size(), config);
  train_together(world, samples, steps);
  return world;
}

std::unique_ptr<Rank> train_alone(DType dtype, int steps) {
  auto rank = std::make_unique<Rank>(dtype);
  rank->train(nullptr, 0, kBatch, steps);
  return rank;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.view().bytes() == b.view().bytes() &&
         std::memcmp(a.view().data, b.view().data, a.view().bytes()) == 0;
}

void check_same_bits(BigBiGAN& a, BigBiGAN& b) {
  for (size_t s = 0; s < a.stores().size(); ++s) {
    const ParamStore &x = *a.stores()[s], &y = *b.stores()[s];
    INFO(x.name());
    CHECK(same_bits(x.value, y.value));
    CHECK(same_bits(x.grad, y.grad));
    CHECK(same_bits(x.adam_m, y.adam_m));
    CHECK(same_bits(x.adam_v, y.adam_v));
    CHECK(same_bits(x.ema, y.ema));
    CHECK(same_bits(x.statistics, y.statistics));
    CHECK(same_bits(x.ema_statistics, y.ema_statistics));
    CHECK(same_bits(x.directions, y.directions));
  }
}

void check_replicas(const World& world) {
  for (size_t r = 1; r < world.size(); ++r) {
    INFO("rank " << r);
    check_same_bits(world[r]->small.model, world[0]->small.model);
  }
}

double loss_distance(const std::vector<StepReport>& a, const std::vector<StepReport>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (size_t s = 0; s < b.size(); ++s) {
    CHECK(!b[s].skipped);
    for (const auto terms : {&StepReport::d, &StepReport::eg}) {
      const std::vector<double> found((a[s].*terms).begin(), (a[s].*terms).end());
      const std::vector<double> expected((b[s].*terms).begin(), (b[s].*terms).end());
      worst = std::max(worst, relative_distance(found, expected));
    }
  }
  return worst;
}

// `nothing`: what counts as no gradient but rounding. `weight_limit`: Adam's first steps turn every
// gradient, a tiny one with its own rounding too, into a step of full size.
struct Limits {
  double values, nothing, weights;
};
void check_same_training(Rank& found, Rank& expected, const Limits& limits) {
  CHECK(loss_distance(found.reports, expected.reports) <= limits.values);
  for (size_t s = 0; s < expected.small.model.stores().size(); ++s) {
    ParamStore &a = *found.small.model.stores()[s], &b = *expected.small.model.stores()[s];
    INFO(b.name());
    CHECK(differences(a, b, &ParamStore::grad, limits.values, limits.nothing) == "");
    CHECK(differences(a, b, &ParamStore::value, limits.weights, limits.nothing) == "");
    CHECK(differences(a, b, &ParamStore::ema, limits.weights, limits.nothing) == "");
    CHECK(relative_distance(read(a.statistics), read(b.statistics)) <= limits.values);
    CHECK(relative_distance(read(a.directions), read(b.directions)) <= limits.values);
  }
}

const std::vector<std::vector<int64_t>> kSplits = {{2, 2, 2, 2}, {3, 3, 2}, {5, 3}, {8, 0}, {8}};

}  // namespace

TEST_CASE("ranks: three steps of any split equal one rank with the global batch, f64") {
  const auto alone = train_alone(DType::kF64, kSteps);
  for (const auto& split : kSplits) {
    INFO(split.size() << " ranks, the first with " << split[0]);
    const World world = train_world(DType::kF64, split, kSteps);
    check_replicas(world);
    check_same_training(*world[0], *alone, {1e-12, 1e-12, 1e-12});
  }
}

TEST_CASE("ranks: the first step of any split, f32") {
  const auto alone = train_alone(DType::kF32, 1);
  for (const auto& split : kSplits) {
    INFO(split.size() << " ranks, the first with " << split[0]);
    const World world = train_world(DType::kF32, split, 1);
    check_replicas(world);
    check_same_training(*world[0], *alone, {1e-5, 1e-5, 1e-2});
  }
}

TEST_CASE("ranks: the same world twice gives the same bits") {
  const World once = train_world(DType::kF32, {3, 3, 2}, kSteps);
  const World twice = train_world(DType::kF32, {3, 3, 2}, kSteps);
  for (size_t r = 0; r < once.size(); ++r)
    check_same_bits(once[r]->small.model, twice[r]->small.model);
}

TEST_CASE("ranks: buckets of any size give the same bits, and so do gradients in one piece") {
  const World small = train_world(DType::kF32, {3, 3, 2}, kSteps);
  const World whole = train_world(DType::kF32, {3, 3, 2}, kSteps, {.bucket_mib = 100});
  for (size_t r = 0; r < small.size(); ++r)
    check_same_bits(small[r]->small.model, whole[r]->small.model);
}

TEST_CASE("ranks: gradients that travel as bf16") {
  RanksConfig narrow = kSmallBuckets;
  narrow.gradient_dtype = "bf16";
  for (const auto& split : {std::vector<int64_t>{3, 3, 2}, {8, 0}}) {
    INFO(split.size() << " ranks, the first with " << split[0]);
    const World world = train_world(DType::kF32, split, 1, narrow);
    check_replicas(world);
    const World again = train_world(DType::kF32, split, 1, narrow);
    check_same_bits(world[0]->small.model, again[0]->small.model);
    const World exact = train_world(DType::kF32, split, 1);
    ParamStore &found = world[0]->small.model.d_store, &expected = exact[0]->small.model.d_store;
    // Two roundings of 2^-8 at most; of many numbers they partly cancel.
    CHECK(differences(found, expected, &ParamStore::grad, 1.0 / 128, 1e-5) == "");
    const double distance = relative_distance(read(found.grad), read(expected.grad));
    CHECK(distance <= 1.0 / 256);
    CHECK(distance >= 1e-4);
  }
}

TEST_CASE("ranks: NaN in a gradient of one is skipped by all, however gradients travel") {
  for (const std::string dtype : {"f32", "bf16"}) {
    RanksConfig config = kSmallBuckets;
    config.gradient_dtype = dtype;
    World world = new_world(DType::kF32, 3, config);
    const World before = train_world(DType::kF32, {3, 3, 2}, 1, config);
    world[1]->poisoned = 2;
    train_together(world, {3, 3, 2}, 2);
    check_replicas(world);
    for (const auto& rank : world) {
      CHECK(!rank->reports[0].skipped);
      CHECK(rank->reports[1].skipped);
      for (size_t s = 0; s < rank->small.model.stores().size(); ++s) {
        CHECK(same_bits(rank->small.model.stores()[s]->value,
                        before[0]->small.model.stores()[s]->value));
      }
    }
  }
}

TEST_CASE("ranks: how gradients travel is the same on all ranks, and when a run goes on") {
  CHECK(!may_differ_on_resume("ranks.bucket_mib"));
  CHECK(!may_differ_on_resume("ranks.gradient_dtype"));
  CHECK(may_differ_on_resume("ranks.step_seconds"));
}
