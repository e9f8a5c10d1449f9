// The memory plan of one rank, and what it proposes where memory is short.
#include "train/memory_plan.h"

#include <catch2/catch.hpp>

#include "tests/models/small_model.h"

using namespace bigbigan;

namespace {

constexpr auto kActivations = static_cast<size_t>(MemoryTag::kActivations);
constexpr auto kOptimizer = static_cast<size_t>(MemoryTag::kOptimizer);

Config planned_config(int64_t batch, int64_t micro_batches) {
  Config c;
  c.model = small_config();
  c.train.batch = batch;
  c.train.micro_batches = micro_batches;
  c.train.d_steps = 1;
  c.sample.every_steps = 0;
  return c;
}

}  // namespace

TEST_CASE("memory plan: activations are those of one rank's images of one micro-batch") {
  Device device("cpu", 1);
  const auto activations = [&](int64_t batch, int64_t micro_batches, int ranks) {
    const Config config = planned_config(batch, micro_batches);
    return static_cast<double>(plan_memory(config, device, ranks).peak[kActivations]);
  };
  const double eight = activations(8, 1, 1), four = activations(4, 1, 1);
  CHECK(eight > 1.8 * four);
  CHECK(activations(8, 2, 1) == Approx(four).epsilon(0.02));
  CHECK(activations(8, 1, 2) == Approx(four).epsilon(0.02));
  CHECK(activations(16, 2, 2) == Approx(four).epsilon(0.02));
  CHECK_THROWS_AS(activations(8, 1, 3), Error);
}

TEST_CASE("memory plan: a sharded optimiser is a part of one") {
  Device device("cpu", 1);
  Config config = planned_config(8, 1);
  const auto bytes = [&](int ranks) {
    return static_cast<double>(plan_memory(config, device, ranks).peak[kOptimizer]);
  };
  const double whole = bytes(4);
  CHECK(bytes(1) == whole);
  config.ranks.shard_optimizer = true;
  CHECK(bytes(1) == whole);
  CHECK(bytes(4) == Approx(whole / 4).epsilon(0.05));
}

TEST_CASE("memory plan: the fewest micro-batches and the largest batch that fit") {
  Device device("cpu", 1);
  const Config config = planned_config(24, 1);
  const auto held = [&](int64_t batch, int64_t micro_batches, int ranks) {
    return plan_memory(planned_config(batch, micro_batches), device, ranks).peak_held;
  };
  for (const int ranks : {1, 2}) {
    INFO(ranks << " ranks");
    const int64_t bytes = held(24, 3, ranks);
    CHECK(fewest_micro_batches(config, device, ranks, bytes) == 3);
    CHECK(fewest_micro_batches(config, device, ranks, bytes - 1) == 4);
    CHECK(fewest_micro_batches(planned_config(24, 4), device, ranks, bytes) == 6);
    CHECK(fewest_micro_batches(config, device, ranks, 1000) == 0);
    const int64_t batch = largest_batch(config, device, ranks, bytes);
    CHECK(batch % ranks == 0);
    CHECK(held(batch, 1, ranks) <= bytes);
    CHECK(held(batch + ranks, 1, ranks) > bytes);
  }
}

TEST_CASE("memory plan: what changes the training least is proposed first") {
  Device device("cpu", 1);
  const Config config = planned_config(24, 1);
  Config rounded = config;
  rounded.train.precision = "bf16";
  const int64_t bytes = plan_memory(rounded, device, 1).peak_held;
  const auto proposal = [&](const char* key, int64_t value) {
    return fmt::format("with {}={}", key, value);
  };
  const std::string advice = out_of_memory_advice(config, device, 1, bytes);
  INFO(advice);
  const size_t first =
      advice.find(proposal("train.micro_batches", fewest_micro_batches(config, device, 1, bytes)));
  const size_t second = advice.find("with train.precision=bf16");
  const size_t third =
      advice.find(proposal("train.batch", largest_batch(config, device, 1, bytes)));
  CHECK(first < second);
  CHECK(second < third);
  CHECK(third != std::string::npos);
  CHECK(out_of_memory_advice(config, device, 1, 1000).find("no train.batch fits") == 0);
}
