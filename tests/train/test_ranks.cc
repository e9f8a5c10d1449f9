// A world of thread-ranks trains like one rank that has the whole batch.
#include <map>

#include "tests/train/training_world.h"

using namespace bigbigan;

namespace {

void check_replicas(const RankWorld& world) {
  for (size_t r = 1; r < world.size(); ++r) {
    INFO("rank " << r);
    check_same_bits(world[r]->small.model, world[0]->small.model);
  }
}

// Images of each rank in each of `micro_batches` parts of the batch.
std::vector<std::vector<int64_t>> splits(int64_t micro_batches) {
  if (micro_batches == 1) return {{2, 2, 2, 2}, {3, 3, 2}, {5, 3}, {8, 0}, {8}};
  return {{1, 1, 1, 1}, {2, 1, 1}, {3, 1}, {4, 0}};
}

}  // namespace

TEST_CASE("ranks: three steps of any split equal one rank with the global batch, f64") {
  const int64_t micro_batches = GENERATE(1, 2);
  const Config config = training_config(micro_batches);
  const auto alone = train_alone(config, DType::kF64, kSteps);
  for (const auto& split : splits(micro_batches)) {
    INFO(micro_batches << " parts, " << split.size() << " ranks, the first with " << split[0]);
    const RankWorld world = train_world(config, DType::kF64, split, kSteps);
    check_replicas(world);
    // Weights with gradients of nothing but rounding walk by Adam's steps, and statistics with
    // them: to 1e-12 after three steps, with one compiler's flags a little more.
    check_same_training(*world[0], *alone, {1e-12, 1e-12, 1e-12, 1e-11});
  }
}

TEST_CASE("ranks: the first step of any split, f32") {
  const Config config = training_config();
  const auto alone = train_alone(config, DType::kF32, 1);
  for (const auto& split : splits(1)) {
    INFO(split.size() << " ranks, the first with " << split[0]);
    const RankWorld world = train_world(config, DType::kF32, split, 1);
    check_replicas(world);
    check_same_training(*world[0], *alone, {1e-5, 1e-5, 1e-2, 1e-5});
  }
}

TEST_CASE("ranks: the same world twice gives the same bits") {
  const RankWorld once = train_world(training_config(), DType::kF32, {3, 3, 2}, kSteps);
  const RankWorld twice = train_world(training_config(), DType::kF32, {3, 3, 2}, kSteps);
  for (size_t r = 0; r < once.size(); ++r)
    check_same_bits(once[r]->small.model, twice[r]->small.model);
}

TEST_CASE("ranks: buckets of any size give the same bits, and so do gradients in one piece") {
  const RankWorld small = train_world(training_config(), DType::kF32, {3, 3, 2}, kSteps);
  const RankWorld whole =
      train_world(training_config(1, {.bucket_mib = 100}), DType::kF32, {3, 3, 2}, kSteps);
  for (size_t r = 0; r < small.size(); ++r)
    check_same_bits(small[r]->small.model, whole[r]->small.model);
}

TEST_CASE("ranks: gradients that travel as bf16") {
  Config narrow = training_config();
  narrow.ranks.gradient_dtype = "bf16";
  for (const auto& split : {std::vector<int64_t>{3, 3, 2}, {8, 0}}) {
    INFO(split.size() << " ranks, the first with " << split[0]);
    const RankWorld world = train_world(narrow, DType::kF32, split, 1);
    check_replicas(world);
    const RankWorld again = train_world(narrow, DType::kF32, split, 1);
    check_same_bits(world[0]->small.model, again[0]->small.model);
    const RankWorld exact = train_world(training_config(), DType::kF32, split, 1);
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
    Config config = training_config();
    config.ranks.gradient_dtype = dtype;
    const RankWorld world = train_world(config, DType::kF32, {3, 3, 2}, 2, 2);
    const RankWorld before = train_world(config, DType::kF32, {3, 3, 2}, 1);
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

TEST_CASE("ranks: what is the same on all of them, and when a run goes on") {
  Config config;
  std::map<std::string, MayDiffer> may_differ;
  for (const ConfigField& field : config_fields(config)) may_differ[field.key] = field.may_differ;
  CHECK(may_differ.at("optim.g_lr") == MayDiffer::kNever);
  CHECK(may_differ.at("ranks.bucket_mib") == MayDiffer::kNever);
  CHECK(may_differ.at("ranks.gradient_dtype") == MayDiffer::kNever);
  CHECK(may_differ.at("ranks.shard_optimizer") == MayDiffer::kOnResume);
  CHECK(may_differ.at("train.steps") == MayDiffer::kOnResume);
  CHECK(may_differ.at("train.threads") == MayDiffer::kAmongRanks);
}
