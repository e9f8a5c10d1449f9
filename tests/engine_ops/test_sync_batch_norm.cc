// Batch norm over ranks that share a batch, against one rank that has all of it.
#include "tests/engine_ops/sync_batch_norm.h"

using namespace bigbigan;

namespace {

void check_world(const BatchNormProblem& p, const Split& split, const BatchNormResult& whole,
                 double limit) {
  std::vector<BatchNormResult> found(split.size());
  run_thread_ranks(static_cast<int>(split.size()), [&](Communicator& comm) {
    HostAllocator allocator;
    const Context ctx{.exec = CpuExec{}, .allocator = &allocator, .comm = &comm};
    const int r = comm.rank();
    found[r] = run_batch_norm(p, ctx, first_of(split, r), split[r]);
  });
  for (size_t r = 0; r < split.size(); ++r) {
    INFO("rank " << r << " of " << split.size() << ", the first with " << split[0]);
    check_same(found[r], part_of(whole, p, first_of(split, r), split[r]), limit);
    CHECK(found[r].running_mean == found[0].running_mean);  // the same bits on every rank
    CHECK(found[r].running_var == found[0].running_var);
    if (!p.conditional) CHECK(found[r].d_gain == found[0].d_gain);
  }
}

}  // namespace

TEST_CASE("synchronised batch norm: any split is one batch") {
  for (const bool conditional : {false, true}) {
    for (const auto& [dtype, limit] :
         {std::pair(DType::kF64, 1e-12), std::pair(DType::kF32, 1e-5)}) {
      const BatchNormProblem p{.dtype = dtype, .conditional = conditional};
      const BatchNormResult whole = run_whole_batch_norm(p);
      for (const Split& split : kBatchNormSplits) check_world(p, split, whole, limit);
    }
  }
}

TEST_CASE("synchronised batch norm: a mean of 1e4 with a deviation of 1") {
  const BatchNormProblem exact{.mean = 1e4}, narrow{.dtype = DType::kF32, .mean = 1e4};
  const BatchNormResult whole = run_whole_batch_norm(exact);
  for (const Split& split : kBatchNormSplits) {
    check_world(exact, split, whole, 1e-11);  // the inputs' own rounding: eps times 1e4
    check_world(narrow, split, whole, 1e-3);
  }
}
