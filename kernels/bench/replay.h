// Runs a convolution or matrix product that a KernelProfile has seen again, with operands of its
// own.
#pragma once

#include <functional>

#include "engine/core/context.h"
#include "kernels/bench/kernel_profile.h"

namespace bigbigan {

// Both throw Error{kInternal} for a launcher that is none of conv2d_{fprop,dgrad,wgrad} and gemm.
using Replay = std::function<void(const CpuExec&)>;
Replay replay_of(const Context& ctx, const KernelProfile::Call& call);
// Floating-point operations of one call.
double flops_of(const KernelProfile::Call& call);

}  // namespace bigbigan
