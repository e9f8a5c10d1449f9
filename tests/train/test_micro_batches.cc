// The gradients of micro-batches add up to those of the whole batch. Note [Micro-batches]
#include <cmath>

#include "tests/engine_io/scratch.h"
#include "tests/train/training_world.h"

using namespace bigbigan;

namespace {

// The rows of both, one after the other.
Tensor joined(const Context& ctx, const Tensor& a, const Tensor& b) {
  std::vector<double> rows = read(a);
  const std::vector<double> more = read(b);
  rows.insert(rows.end(), more.begin(), more.end());
  return tensor_of(ctx, a.shape().with_dim0(a.shape()[0] + b.shape()[0]), a.dtype(), rows);
}

StepInputs twice(const Context& ctx, const StepInputs& in) {
  return {.x = joined(ctx, in.x, in.x),
          .z = joined(ctx, in.z, in.z),
          .eps = joined(ctx, in.eps, in.eps),
          .global_batch = in.global_batch};
}

// One step of a rank alone, with these inputs.
struct OneStep {
  explicit OneStep(int64_t micro_batches)
      : rank(training_config(micro_batches), DType::kF64),
        step(rank.config, rank.small.model, rank.small.ctx) {
    step.begin();
  }
  Rank rank;
  TrainingStep step;
};

}  // namespace

// The same images in each part: batch norm sees the statistics of the whole.
TEST_CASE("micro-batches: where batch norm sees the same, they are one big batch, f64") {
  OneStep parts(2), whole(1);
  const auto small_inputs = [&](int64_t first) {
    return parts.rank.small.inputs(first, kBatch / 2, kBatch);
  };
  const Context& ctx = parts.rank.small.ctx;
  const auto part = [&](int64_t first) { return [=](int64_t) { return small_inputs(first); }; };
  const auto all = [&](int64_t first) {
    return [=, &ctx](int64_t) { return twice(ctx, small_inputs(first)); };
  };
  std::vector<std::vector<double>> before;
  for (const ParamStore* s : whole.rank.small.model.stores()) before.push_back(read(s->statistics));

  parts.step.discriminator_update(part(0));
  whole.step.discriminator_update(all(0));
  parts.step.encoder_generator_update(part(8), 1);
  whole.step.encoder_generator_update(all(8), 1);

  const std::vector<StepReport> found = {parts.step.report()}, expected = {whole.step.report()};
  CHECK(loss_distance(found, expected) <= 1e-12);
  CHECK(found[0].d_updates == 1);
  CHECK(found[0].grad_norm_d == Approx(expected[0].grad_norm_d).epsilon(1e-12));
  for (size_t s = 0; s < before.size(); ++s) {
    ParamStore &a = *parts.rank.small.model.stores()[s], &b = *whole.rank.small.model.stores()[s];
    INFO(b.name());
    CHECK(differences(a, b, &ParamStore::grad, 1e-12, 1e-12) == "");
    CHECK(differences(a, b, &ParamStore::value, 1e-12, 1e-12) == "");
    CHECK(relative_distance(read(a.directions), read(b.directions)) <= 1e-12);
    // Stored statistics move with each part: towards the same, twice.
    const double keep = parts.rank.config.model.bn_momentum;
    std::vector<double> moved = read(b.statistics);
    for (size_t i = 0; i < moved.size(); ++i) {
      moved[i] = keep * moved[i] + moved[i] - keep * before[s][i];
    }
    CHECK(relative_distance(read(a.statistics), moved) <= 1e-12);
  }
}

TEST_CASE("micro-batches: gradients and losses of different images add up, f64") {
  constexpr int64_t kParts = 4, kImages = kBatch / kParts;
  OneStep sum(kParts);
  const auto inputs = [&](int64_t j) {
    return sum.rank.small.inputs(j * kImages, kImages, kBatch);
  };
  sum.step.discriminator_update(inputs);
  std::vector<double> gradient(sum.rank.small.model.d_store.grad.elems());
  double loss = 0;
  for (int64_t j = 0; j < kParts; ++j) {
    SmallModel alone(sum.rank.config.model);
    loss += read(alone.model.discriminator_gradients(alone.ctx, inputs(j)))[kLossTotal];
    const std::vector<double> part = read(alone.model.d_store.grad);
    for (size_t i = 0; i < part.size(); ++i) gradient[i] += part[i];
  }
  CHECK(relative_distance(read(sum.rank.small.model.d_store.grad), gradient) <= 1e-12);
  CHECK(sum.step.report().d[kLossTotal] == Approx(loss).epsilon(1e-12));
}

TEST_CASE("micro-batches: NaN in any of them skips the update") {
  const int64_t bad = GENERATE(0, 1);
  OneStep run(2);
  const std::vector<double> before = read(run.rank.small.model.d_store.value);
  run.step.discriminator_update([&](int64_t j) {
    StepInputs in = run.rank.small.inputs(4 * j, 4, kBatch);
    if (j == bad) in.z.slice(0, 1).reshape({8}).slice(0, 1).set_item(std::nan(""));
    return in;
  });
  CHECK(run.step.report().skipped);
  CHECK(read(run.rank.small.model.d_store.value) == before);
}

TEST_CASE("micro-batches: a batch that does not divide names the next that do") {
  TrainConfig train;
  train.batch = 10;
  train.micro_batches = 2;
  CHECK(train.images_at_a_time(1) == 5);
  require_error([&] { (void)train.images_at_a_time(2); }, ExitCode::kConfig,
                {"train.batch 10", "micro_batches 2 x 2 ranks", "give 8 or 12"});
  train.batch = 3;
  require_error([&] { (void)train.images_at_a_time(2); }, ExitCode::kConfig, {"give 4"});
}
