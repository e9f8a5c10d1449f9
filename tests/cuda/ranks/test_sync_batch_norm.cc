// Batch norm over GPUs that share a batch, uneven parts and empty ones too, against one CPU in f64
// that has all of it.
#include "tests/engine_ops/sync_batch_norm.h"

#include "tests/cuda/ranks/gpu_ranks.h"

using namespace bigbigan;

TEST_CASE("GPU ranks: synchronised batch norm of any split is that of one batch") {
  for (const auto& [p, limit] :
       {std::pair(BatchNormProblem{.dtype = DType::kF32}, 1e-5),
        {BatchNormProblem{.dtype = DType::kF32, .conditional = true}, 1e-5},
        {BatchNormProblem{.dtype = DType::kF32, .mean = 1e4}, 1e-3}}) {
    const BatchNormResult whole =
        run_whole_batch_norm({.dtype = DType::kF64, .mean = p.mean, .conditional = p.conditional});
    for (const Split& split : kBatchNormSplits) {
      std::vector<BatchNormResult> found(split.size());
      run_gpu_ranks(static_cast<int>(split.size()), [&, p = p](GpuRank& rank) {
        const int r = rank.comm->rank();
        found[r] = run_batch_norm(p, rank.ctx, first_of(split, r), split[r]);
      });
      for (size_t r = 0; r < split.size(); ++r) {
        INFO("mean " << p.mean << ", conditional " << p.conditional << ", rank " << r << " of "
                     << split.size() << ", the first with " << split[0]);
        check_same(found[r], part_of(whole, p, first_of(split, r), split[r]), limit);
        CHECK(found[r].running_mean == found[0].running_mean);
        CHECK(found[r].running_var == found[0].running_var);
      }
    }
  }
}
