// Whole training steps give the same bits with any number of threads.
#include <catch2/catch.hpp>
#include <cstring>

#include "engine/util/thread_pool.h"
#include "kernels/random/philox.h"
#include "train/step.h"

using namespace bigbigan;

namespace {

#ifdef __SANITIZE_THREAD__
constexpr int kSteps = 2;  // at about 3 s each
#else
constexpr int kSteps = 20;
#endif

// fmnist-32-tiny with a batch that leaves no chunk whole.
Config tiny_config() {
  Config c;
  apply_toml(config_fields(c), preset_text("fmnist-32-tiny"), "preset");
  c.train.batch = 7;
  c.train.ema_start = 3;
  return c;
}

// FNV-1a of a tensor's bytes, going on from `hash`.
uint64_t hash_of(const Tensor& t, uint64_t hash) {
  const auto* bytes = static_cast<const unsigned char*>(t.view().data);
  for (int64_t i = 0; i < t.view().bytes(); ++i) hash = (hash ^ bytes[i]) * 0x100000001b3;
  return hash;
}

uint64_t hash_of(BigBiGAN& model) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const ParamStore* s : model.stores()) {
    for (const Tensor& t : {s->value, s->grad, s->adam_m, s->adam_v, s->ema, s->statistics,
                            s->ema_statistics, s->directions}) {
      if (t) hash = hash_of(t, hash);
    }
  }
  return hash;
}

// A hash of the whole state after each step, and the losses.
struct Trace {
  std::vector<uint64_t> states;
  std::vector<double> losses;
};

Trace train(int threads) {
  const Config config = tiny_config();
  ThreadPool pool(threads);
  HostAllocator allocator;
  const Context ctx{.exec = CpuExec{&pool}, .allocator = &allocator};
  BigBiGAN model(config.model);
  model.allocate(ctx, true);
  model.initialize(1);
  TrainingStep step(config, model, ctx);
  Trace trace;
  int64_t consumed = 0;
  const auto batch = [&] {
    const Tensor pixels = Tensor::empty(ctx, {config.train.batch, 32, 32, 1}, DType::kU8);
    for (int64_t i = 0; i < pixels.elems(); ++i) {
      const uint64_t sample = consumed * 1024 + i;
      pixels.as<uint8_t>()[i] =
          static_cast<uint8_t>(philox(9, RandomStream::kSample, sample, 0).word[0]);
    }
    consumed += config.train.batch;
    return image_batch(ctx, pixels, Tensor(), consumed - config.train.batch, config.train.batch);
  };
  for (int s = 1; s <= kSteps; ++s) {
    step.run(std::vector{batch(), batch()}, s);
    const StepReport report = step.report();
    CHECK(!report.skipped);
    trace.states.push_back(hash_of(model));
    trace.losses.push_back(report.d[kLossTotal]);
    trace.losses.push_back(report.eg[kLossTotal]);
  }
  return trace;
}

}  // namespace

TEST_CASE("threads: whole steps with 1, 2 and 4 threads, bit by bit") {
  const Trace one = train(1);
  CHECK(one.states.front() != one.states.back());
  for (const int threads : {1, 2, 4}) {
    INFO(threads << " threads");
    const Trace again = train(threads);
    CHECK(again.states == one.states);
    CHECK(again.losses == one.losses);
  }
}
