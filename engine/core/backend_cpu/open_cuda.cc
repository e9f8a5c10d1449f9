#include "engine/core/device.h"
#include "kernels/common/error.h"

namespace bigbigan {

std::unique_ptr<Accelerator> open_cuda(int) {
  fail(ExitCode::kSystem, "--device cuda: this build has no CUDA backend; use --device cpu");
}

std::vector<std::string> gpu_names() { return {}; }

bool has_cuda_backend() { return false; }

}  // namespace bigbigan
