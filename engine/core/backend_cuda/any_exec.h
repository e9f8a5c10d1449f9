// The backends of a build with CUDA. Which of the any_exec.h is found, CMake decides.
#pragma once

#include <variant>

#include "kernels/common/exec.h"

namespace bigbigan {

using AnyExec = std::variant<CpuExec, CudaExec>;

}  // namespace bigbigan
