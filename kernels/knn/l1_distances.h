// Sums of absolute differences of all pairs of rows; f32. Each is summed in the order of the
// columns.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// f32 elements of scratch.
int64_t l1_distances_scratch_elems(const CpuExec& ex, int64_t references, int64_t columns);
int64_t l1_distances_scratch_elems(const CudaExec& ex, int64_t references, int64_t columns);
// distances (Q, R) := sum_d |queries (Q, D) - references (R, D)|
void l1_distances(const CpuExec& ex, ConstView queries, ConstView references, View distances,
                  View scratch);
void l1_distances(const CudaExec& ex, ConstView queries, ConstView references, View distances,
                  View scratch);

}  // namespace bigbigan
