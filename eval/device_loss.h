// The loss of the linear probe on a device: its rows stay there while L-BFGS walks on the host.
#pragma once

#include "engine/core/tensor.h"
#include "eval/probe.h"

namespace bigbigan {

// data_loss() of `data`, computed where `ctx` computes; f32 products of tiles of rows, whose sums
// are added in f64 on the host. `ctx` must outlive it, `data` need not. Throws Error{kSystem} where
// the device has no room for the features.
DataLoss device_loss(const Context& ctx, const LabelledFeatures& data, int64_t classes);

}  // namespace bigbigan
