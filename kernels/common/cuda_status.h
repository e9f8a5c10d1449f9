// The one way to look at what a CUDA call returns. Also for sources that nvcc does not compile.
#pragma once

#include <cuda_runtime_api.h>

#include <string_view>

#include "kernels/common/error.h"

namespace bigbigan {

// Throws Error{kSystem} "<what>: <error> (<its text>)" unless the call succeeded.
inline void check_cuda(cudaError_t status, std::string_view what) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // reported here: the next launch shall not report it again
  fail(ExitCode::kSystem, "{}: {} ({})", what, cudaGetErrorName(status),
       cudaGetErrorString(status));
}

}  // namespace bigbigan
