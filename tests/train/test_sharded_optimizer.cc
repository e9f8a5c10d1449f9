// Ranks that each keep a part of the optimiser's state train as ranks that keep all of it.
// Note [Sharded optimiser]
#include <numeric>

#include "models/bigbigan/inference.h"
#include "models/bigbigan/weights.h"
#include "tests/engine_io/scratch.h"
#include "tests/train/training_world.h"
#include "train/state.h"

using namespace bigbigan;

namespace {

using Bytes = std::vector<std::vector<std::byte>>;

Config sharded(bool shard, const std::string& gradient_dtype = "f32") {
  Config c = training_config();
  c.ranks.gradient_dtype = gradient_dtype;
  c.ranks.shard_optimizer = shard;
  return c;
}

// Images of each of `ranks` ranks.
std::vector<int64_t> split(int ranks) {
  std::vector<int64_t> images(ranks, kBatch / ranks);
  for (int r = 0; r < kBatch % ranks; ++r) ++images[r];
  return images;
}

// All that a checkpoint holds of the model. Called by all ranks.
Bytes state_of(BigBiGAN& model) {
  Bytes all;
  for (const WeightSet set : {WeightSet::kLive, WeightSet::kEma, WeightSet::kAdam}) {
    ExportedWeights weights = export_weights(model, set);
    for (auto& bytes : weights.storage) all.push_back(std::move(bytes));
  }
  return all;
}

// What each rank of a world ends with: `body(rank, comm, first)` with this rank's first image.
template <class Body>
std::vector<Bytes> run_world(int ranks, const Config& config, DType dtype, const Body& body) {
  std::vector<Bytes> ends(ranks);
  run_thread_ranks(ranks, [&](Communicator& comm) {
    const std::vector<int64_t> images = split(ranks);
    const int64_t first = std::accumulate(images.begin(), images.begin() + comm.rank(), int64_t{0});
    Rank rank(config, dtype, &comm);
    ends[comm.rank()] = body(rank, comm, first, images[comm.rank()]);
  });
  return ends;
}

// The initial state; pictures drawn from the averages before the last of three steps; the end.
Bytes train_and_draw(Rank& rank, Communicator& comm, int64_t first, int64_t images) {
  Bytes all = state_of(rank.small.model);
  rank.train(&comm, first, images, kSteps - 1);
  {
    Context ctx = inference_context(rank.small.ctx, BnMode::kBatch);
    ctx.dtype = master_dtype(ctx.dtype);
    const UseAverages averages(rank.small.model);
    const Tensor z = tensor_of(ctx, {2, 8}, ctx.dtype, noise(1, 16, 1));
    const Tensor picture = generate(rank.small.model, ctx, z);
    all.emplace_back(picture.view().bytes());
    picture.read(all.back().data());
  }
  rank.train(&comm, first, images, 1);
  for (auto& bytes : state_of(rank.small.model)) all.push_back(std::move(bytes));
  return all;
}

}  // namespace

TEST_CASE("sharded optimiser: the bits of the unsharded one, in pictures and checkpoints") {
  const auto [dtype, gradients] = GENERATE(table<DType, std::string>(
      {{DType::kF32, "f32"}, {DType::kBF16, "f32"}, {DType::kF32, "bf16"}}));
  for (const int ranks : {2, 3, 4}) {
    INFO(ranks << " ranks, " << name_of(dtype) << ", gradients as " << gradients);
    const std::vector<Bytes> found =
        run_world(ranks, sharded(true, gradients), dtype, train_and_draw);
    const std::vector<Bytes> expected =
        run_world(ranks, sharded(false, gradients), dtype, train_and_draw);
    for (int r = 0; r < ranks; ++r) CHECK((found[r] == expected[0]));
  }
}

// Sums over gradients are formed of other parts, in f64: what f32 rounds away shows in f64.
TEST_CASE("sharded optimiser: as the unsharded one in f64") {
  const RankWorld found = train_world(sharded(true), DType::kF64, split(3), kSteps);
  const RankWorld expected = train_world(sharded(false), DType::kF64, split(3), kSteps);
  for (size_t s = 0; s < expected[0]->small.model.stores().size(); ++s) {
    ParamStore &a = *found[0]->small.model.stores()[s], &b = *expected[0]->small.model.stores()[s];
    INFO(b.name());
    // Adam makes steps of full size of the rounding that is all a bias before a batch norm gets.
    CHECK(differences(a, b, &ParamStore::value, 1e-10, 1e-12) == "");
    CHECK(relative_distance(read(a.directions), read(b.directions)) <= 1e-12);
  }
}

TEST_CASE("sharded optimiser: losses and norms are reported as without") {
  const RankWorld found = train_world(sharded(true), DType::kF32, split(3), kSteps);
  const RankWorld expected = train_world(sharded(false), DType::kF32, split(3), kSteps);
  for (int s = 0; s < kSteps; ++s) {
    const StepReport &a = found[2]->reports[s], &b = expected[0]->reports[s];
    CHECK(a.d == b.d);
    CHECK(a.eg == b.eg);
    CHECK(a.grad_norm_g == Approx(b.grad_norm_g).epsilon(1e-6));
    CHECK(a.grad_norm_e == Approx(b.grad_norm_e).epsilon(1e-6));
    CHECK(a.grad_norm_d == Approx(b.grad_norm_d).epsilon(1e-6));
  }
}

TEST_CASE("sharded optimiser: checkpoints are the same, whoever writes and whoever reads") {
  const bool is_writer_sharded = GENERATE(true, false);
  const int writers = is_writer_sharded ? 3 : 2, readers = 5 - writers;
  const ScratchFolder folder;
  const auto save = [&](Rank& rank, Communicator& comm, int64_t first, int64_t images) {
    rank.train(&comm, first, images, 2);
    PosixVfs vfs;
    save_training(vfs, folder.path(), rank.small.model, {.step = 2}, comm.rank() == 0);
    comm.barrier();
    return state_of(rank.small.model);
  };
  const auto load = [&](Rank& rank, Communicator& comm, int64_t, int64_t) {
    PosixVfs vfs;
    load_training(vfs, checkpoint_path(folder.path(), 2), rank.small.model);
    comm.barrier();
    return state_of(rank.small.model);
  };
  const std::vector<Bytes> written =
      run_world(writers, sharded(is_writer_sharded), DType::kF32, save);
  const std::vector<Bytes> found =
      run_world(readers, sharded(!is_writer_sharded), DType::kF32, load);
  for (const Bytes& state : found) CHECK((state == written[0]));
}

TEST_CASE("sharded optimiser: NaN on one rank is skipped by all") {
  const auto ends =
      run_world(3, sharded(true), DType::kF32,
                [](Rank& rank, Communicator& comm, int64_t first, int64_t images) {
                  const Bytes before = state_of(rank.small.model);
                  Context ctx = rank.small.ctx;
                  ctx.comm = &comm;
                  TrainingStep step(rank.config, rank.small.model, ctx);
                  step.begin();
                  if (comm.rank() == 1) step.poison_next_gradient();
                  step.discriminator_update(
                      [&](int64_t) { return rank.small.inputs(first, images, kBatch); });
                  const std::vector<double> weights = read(rank.small.model.d_store.value);
                  Rank untouched(rank.config, DType::kF32, &comm);
                  Bytes outcome(2);
                  if (step.report().skipped) outcome[0].resize(1);
                  if (weights == read(untouched.small.model.d_store.value)) outcome[1].resize(1);
                  return outcome;
                });
  for (const Bytes& outcome : ends) {
    CHECK(outcome[0].size() == 1);  // skipped
    CHECK(outcome[1].size() == 1);  // D's weights are as they were
  }
}

TEST_CASE("sharded optimiser: memory is an N-th of the arrays") {
  constexpr int kRanks = 4;
  const auto held = [](const SmallModel& small) {
    return small.allocator.ledger().live[static_cast<size_t>(MemoryTag::kOptimizer)];
  };
  SmallModel whole(small_config(), DType::kF32);
  run_thread_ranks(kRanks, [&](Communicator& comm) {
    SmallModel part(small_config(), DType::kF32, 1, &comm,
                    {.bucket_bytes = 1 << 10, .is_sharded = true});
    for (size_t s = 0; s < whole.model.stores().size(); ++s) {
      const ParamStore &a = *part.model.stores()[s], &b = *whole.model.stores()[s];
      const int64_t elems = a.value.elems() / kRanks;
      check(a.pieces() > 2, "{}: {} pieces", a.name(), a.pieces());
      // At most 64 bytes of each rank are added to a bucket.
      check(elems * kRanks < b.value.elems() + 16 * kRanks * a.pieces(), "{}: {} elements of {}",
            a.name(), elems, b.value.elems());
      for (const Tensor* t : {&a.adam_m, &a.adam_v, &a.ema}) {
        if (t == &a.ema && !a.is_averaged()) continue;
        check(t->elems() == elems, "{}: {} elements, expected {}", a.name(), t->elems(), elems);
      }
    }
    // The pool rounds requests up.
    check(held(part) < 1.15 * held(whole) / kRanks, "{} bytes of {}", held(part), held(whole));
  });
}
