// What the ranks of preset `base` say to each other in a step, and when: a plan of the step, in
// which nothing is computed.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string_view>

#include "engine/optim/gradient_reducer.h"
#include "tests/harness/recording_communicator.h"
#include "train/step.h"

using namespace bigbigan;

namespace {

constexpr int64_t kImages = 4;  // of this rank
constexpr int kRanks = 8;

// A plan, and the number of requests for memory as a clock: every layer takes some.
class CountingAllocator final : public Allocator {
 public:
  void* allocate(int64_t bytes, MemoryTag tag) override {
    ++requests;
    return pool_.allocate(bytes, tag);
  }
  void release(void* pointer, int64_t bytes, MemoryTag tag) noexcept override {
    pool_.release(pointer, bytes, tag);
  }
  [[nodiscard]] MemoryLedger ledger() const override { return pool_.ledger(); }
  [[nodiscard]] Memory& memory() override { return pool_.memory(); }

  int64_t requests = 0;

 private:
  PoolAllocator pool_{std::make_unique<PlanMemory>()};
};

// A rank of a run with the default configuration, which is preset `base`.
struct PlannedRank {
  explicit PlannedRank(bool shard = false) : model(config.model) {
    config.ranks.shard_optimizer = shard;
    model.allocate(ctx, true, config.ranks.division());
  }

  [[nodiscard]] StepInputs inputs() const {
    const int64_t r = model.arch.encoder_resolution;
    const auto empty = [&](const Shape& shape) { return Tensor::empty(ctx, shape, ctx.dtype); };
    return {.x = empty({kImages, r, r, 3}),
            .z = empty({kImages, config.model.z_dim}),
            .eps = empty({kImages, config.model.z_dim}),
            .global_batch = kRanks * kImages};
  }

  Config config;
  CountingAllocator memory;
  RecordingCommunicator comm{kRanks};
  Context ctx{.exec = CpuExec{}, .allocator = &memory, .comm = &comm, .plan_only = true};
  BigBiGAN model;
};

// The buckets of a store, as they start during a backward pass.
class WatchedStore {
 public:
  WatchedStore(PlannedRank& rank, ParamStore& store)
      : rank_(rank), store_(store), reducer_(rank.ctx, store, DType::kF32) {
    for (const auto& entry : store.entries()) missing_ += entry.frozen ? 0 : 1;
    store.on_gradient_ready = [this](int64_t entry) {
      const size_t before = rank_.comm.calls.size();
      const int64_t now = rank_.memory.requests;
      if (first_gradient_ == 0) first_gradient_ = now;
      reducer_.ready(entry);
      --missing_;
      for (size_t i = before; i < rank_.comm.calls.size(); ++i) {
        started_.push_back({now, rank_.comm.calls[i].values.bytes()});
      }
    };
  }
  ~WatchedStore() { store_.on_gradient_ready = nullptr; }

  // When the backward pass has ended.
  void check_overlap() {
    INFO(store_.name());
    CHECK(missing_ == 0);  // every gradient came, once
    REQUIRE(started_.size() >= 5);
    // Of the pass, from the store's first gradient on: what was left when a bucket started.
    const auto left = [&, end = rank_.memory.requests](const Bucket& bucket) {
      return static_cast<double>(end - bucket.at) / static_cast<double>(end - first_gradient_);
    };
    CHECK(left(started_[started_.size() - 2]) >= 0.2);  // the ones before had more
    CHECK(started_.back().bytes < store_.grad.view().bytes() / 20);
    int64_t bytes = 0;
    const auto half = std::ranges::find_if(started_, [&](const Bucket& bucket) {
      return (bytes += bucket.bytes) >= store_.grad.view().bytes() / 2;
    });
    CHECK(left(*half) >= 0.5);
    const size_t before = rank_.comm.calls.size();
    reducer_.finish();
    CHECK(rank_.comm.calls.size() == before + 1);  // nothing was left to start
    CHECK(rank_.comm.calls.back().name == "finish_sums");
  }

 private:
  struct Bucket {
    int64_t at, bytes;
  };
  PlannedRank& rank_;
  ParamStore& store_;
  GradientReducer reducer_;
  int64_t missing_ = 0, first_gradient_ = 0;
  std::vector<Bucket> started_;
};

}  // namespace

TEST_CASE("overlap: buckets start long before the backward passes of `base` end") {
  PlannedRank rank(/*shard=*/GENERATE(false, true));
  WatchedStore d(rank, rank.model.d_store);
  rank.model.discriminator_gradients(rank.ctx, rank.inputs());
  d.check_overlap();
  WatchedStore g(rank, rank.model.g_store), e(rank, rank.model.e_store);
  rank.model.encoder_generator_gradients(rank.ctx, rank.inputs());
  e.check_overlap();
  g.check_overlap();
}

// How many and how large: docs/ranks.md.
TEST_CASE("collectives: what a step of `base` takes") {
  const bool shard = GENERATE(false, true);
  PlannedRank rank(shard);
  TrainingStep step(rank.config, rank.model, rank.ctx);
  const int64_t r = rank.model.arch.encoder_resolution, d_steps = rank.config.train.d_steps;
  std::vector<ImageBatch> batches;
  for (int64_t i = 0; i <= d_steps; ++i) {
    batches.push_back(image_batch(rank.ctx, Tensor::empty(rank.ctx, {kImages, r, r, 3}, DType::kU8),
                                  Tensor(), 0, kRanks * kImages));
  }
  step.run(batches, 1);
  int64_t norms = 0;
  for (const ParamStore* store : rank.model.stores()) {
    for (const auto& entry : store->buffer_entries()) norms += entry.name.ends_with("running_mean");
  }
  CHECK(norms == 60);
  const auto bytes_of = [&](std::string_view name) {
    int64_t bytes = 0;
    for (const ConstView& values : rank.comm.of(name)) bytes += values.bytes();
    return bytes;
  };
  const auto count_of = [&](std::string_view name) {
    return static_cast<int64_t>(rank.comm.of(name).size());
  };
  const int64_t buckets = d_steps * 14 + 5 + 9;  // D, G, E
  // Sharded: buckets are padded, and weights are gathered as gradients were summed.
  const int64_t bytes = 1930661184, padded = 1930664960;
  CHECK(count_of("start_sum") == (shard ? 0 : buckets));
  CHECK(bytes_of("start_sum") == (shard ? 0 : bytes));
  CHECK(count_of("start_reduce_scatter_sum") == (shard ? buckets : 0));
  CHECK(bytes_of("start_reduce_scatter_sum") == (shard ? padded : 0));
  CHECK(count_of("all_gather") == (d_steps + 1) * norms + (shard ? buckets : 0));
  CHECK(bytes_of("all_gather") == 1451424 + (shard ? padded / kRanks : 0));
  // And the losses of each update; sharded, the sums over its networks' gradients.
  const auto sums_of = [](const ParamStore& store) {
    return 8 * gradient_sums_shape(store.normalized_weights(0)).elems();
  };
  const int64_t sums = d_steps * sums_of(rank.model.d_store) + sums_of(rank.model.g_store) +
                       sums_of(rank.model.e_store);
  CHECK(count_of("all_reduce_sum") == norms + d_steps + 1 + (shard ? d_steps + 2 : 0));
  CHECK(bytes_of("all_reduce_sum") == 483520 + (shard ? sums : 0));
}
