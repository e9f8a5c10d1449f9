// Note [Epilogues] behind a product, where the library that formed it has no kernel with them.
#pragma once

#include "kernels/linear/gemm.h"

namespace bigbigan {

// All that `args` asks for but product and addend. CUDA alone: the CPU's gemm finishes what it
// begins.
void gemm_finish(const CudaExec& ex, const GemmArgs& args);

}  // namespace bigbigan
