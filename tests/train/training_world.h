// Small trainings by worlds of thread-ranks, kept so that their stores can be compared.
#pragma once

#include <catch2/catch.hpp>
#include <cstring>
#include <memory>

#include "engine/comm/communicator.h"
#include "tests/models/small_model.h"
#include "train/step.h"

namespace bigbigan {

constexpr int64_t kBatch = 8;
constexpr int kSteps = 3;

// Gradients in buckets of 1 KiB: several for each store.
const RanksConfig kSmallBuckets = {.bucket_mib = 1.0 / 1024};

inline Config training_config(int64_t micro_batches = 1, const RanksConfig& ranks = kSmallBuckets) {
  Config c;
  c.ranks = ranks;
  c.model = small_config();
  c.train.batch = kBatch;
  c.train.micro_batches = micro_batches;
  c.train.d_steps = 1;
  c.train.ema_start = 2;
  c.train.ema_decay = 0.9;
  c.optim = {.g_lr = 1e-3, .d_lr = 2e-3, .e_lr = 1e-3, .beta1 = 0.5};
  return c;
}

struct Rank {
  Config config;
  SmallModel small;
  std::vector<StepReport> reports;

  Rank(const Config& config, DType dtype, Communicator* comm = nullptr)
      : config(config), small(config.model, dtype, 1, comm, config.ranks.division()) {}

  // Images [first, first + n) of each micro-batch are this rank's. A gradient of step `poisoned`
  // (from 1; 0: none) is NaN.
  void train(Communicator* comm, int64_t first, int64_t n, int steps, int poisoned = 0) {
    Context ctx = small.ctx;
    ctx.comm = comm;
    TrainingStep step(config, small.model, ctx);
    const auto done = static_cast<int>(reports.size());
    step.set_updates(done, done);
    for (int s = done; s < done + steps; ++s) {
      const auto update = [&](int64_t sub_step) {
        const int64_t at = (2 * s + sub_step) * kBatch + first;
        return [=, this](int64_t j) {
          return small.inputs(at + j * kBatch / config.train.micro_batches, n, kBatch);
        };
      };
      if (s + 1 == poisoned) step.poison_next_gradient();
      step.begin();
      step.discriminator_update(update(0));
      step.encoder_generator_update(update(1), s + 1);
      reports.push_back(step.report());
    }
  }
};

using RankWorld = std::vector<std::unique_ptr<Rank>>;

// samples[r]: images of rank r in each micro-batch. `poisoned`: of rank 1.
inline RankWorld train_world(const Config& config, DType dtype, const std::vector<int64_t>& samples,
                             int steps, int poisoned = 0) {
  RankWorld world(samples.size());
  run_thread_ranks(static_cast<int>(samples.size()), [&](Communicator& comm) {
    int64_t first = 0;
    for (int r = 0; r < comm.rank(); ++r) first += samples[r];
    world[comm.rank()] = std::make_unique<Rank>(config, dtype, &comm);
    world[comm.rank()]->train(&comm, first, samples[comm.rank()], steps,
                              comm.rank() == 1 ? poisoned : 0);
  });
  return world;
}

inline std::unique_ptr<Rank> train_alone(const Config& config, DType dtype, int steps) {
  auto rank = std::make_unique<Rank>(config, dtype);
  rank->train(nullptr, 0, kBatch / config.train.micro_batches, steps);
  return rank;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.view().bytes() == b.view().bytes() &&
         std::memcmp(a.view().data, b.view().data, a.view().bytes()) == 0;
}

inline void check_same_bits(BigBiGAN& a, BigBiGAN& b) {
  for (size_t s = 0; s < a.stores().size(); ++s) {
    const ParamStore &x = *a.stores()[s], &y = *b.stores()[s];
    INFO(x.name());
    CHECK(same_bits(x.value, y.value));
    CHECK(same_bits(x.grad, y.grad));
    CHECK(same_bits(x.adam_m, y.adam_m));
    CHECK(same_bits(x.adam_v, y.adam_v));
    CHECK(same_bits(x.statistics, y.statistics));
    CHECK(same_bits(x.directions, y.directions));
    if (!y.is_averaged()) continue;
    CHECK(same_bits(x.ema, y.ema));
    CHECK(same_bits(x.ema_statistics, y.ema_statistics));
  }
}

inline double loss_distance(const std::vector<StepReport>& a, const std::vector<StepReport>& b) {
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

// `nothing`: what counts as no gradient but rounding. `weights`: Adam's first steps turn every
// gradient, a tiny one with its own rounding too, into a step of full size.
struct Limits {
  double values, nothing, weights, statistics;
};
inline void check_same_training(Rank& found, Rank& expected, const Limits& limits) {
  CHECK(loss_distance(found.reports, expected.reports) <= limits.values);
  for (size_t s = 0; s < expected.small.model.stores().size(); ++s) {
    ParamStore &a = *found.small.model.stores()[s], &b = *expected.small.model.stores()[s];
    INFO(b.name());
    CHECK(differences(a, b, &ParamStore::grad, limits.values, limits.nothing) == "");
    CHECK(differences(a, b, &ParamStore::value, limits.weights, limits.nothing) == "");
    CHECK(relative_distance(read(a.statistics), read(b.statistics)) <= limits.statistics);
    CHECK(relative_distance(read(a.directions), read(b.directions)) <= limits.values);
    if (!b.is_averaged()) continue;
    CHECK(differences(a, b, &ParamStore::ema, limits.weights, limits.nothing) == "");
  }
}

}  // namespace bigbigan
