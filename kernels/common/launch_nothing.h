// Whether this program's kernels run on the current device at all.
#pragma once

#include "kernels/common/cuda_status.h"

namespace bigbigan {

// Launches a kernel that does nothing on the default stream; what CUDA says to that.
cudaError_t launch_nothing();

}  // namespace bigbigan
