// Random operands of any size, quickly.
#pragma once

#include "engine/core/tensor.h"

namespace bigbigan {

struct NormalValues {
  uint64_t seed = 0;
  double deviation = 1, mean = 0;
  DType rounded_to = DType::kF32;  // the values, whatever the dtype that holds them
};

// Normal values, a million different ones, repeated where the tensor is larger: never zeros, on
// which GPUs are faster. f32, f64, bf16.
Tensor normal_tensor(const Context& ctx, const Shape& shape, DType dtype,
                     const NormalValues& values = {});

}  // namespace bigbigan
