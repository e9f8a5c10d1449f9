// A build without CUDA: no rank has a GPU.
#include "engine/comm/device_communicator.h"

namespace bigbigan {

std::unique_ptr<DeviceCommunicator> make_nccl_communicator(Communicator&, const AnyExec&, double) {
  fail(ExitCode::kSystem, "NCCL: this build has no CUDA backend (BIGBIGAN_CUDA=OFF)");
}

}  // namespace bigbigan
