// What this machine can do at best, measured in the run that is compared with it.
#pragma once

#include "kernels/common/exec.h"

namespace bigbigan {

struct Ceilings {
  double copy_gb_per_s = 0;      // memcpy beyond the caches; bytes read and bytes written
  double sgemm_gflop_per_s = 0;  // oneDNN's sgemm of 512 x 512 x 512 on every thread at once
};

// On the threads of `ex`; the best of several rounds, half a second in all.
Ceilings measure_ceilings(const CpuExec& ex);

}  // namespace bigbigan
