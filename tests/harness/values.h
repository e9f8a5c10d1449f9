// Tensors from lists of numbers and back.
#pragma once

#include <span>
#include <vector>

#include "engine/core/tensor.h"

namespace bigbigan {

// Elements of an f32, f64 or bf16 tensor.
std::vector<double> read(const Tensor& t);
void write(const Tensor& t, std::span<const double> values);
Tensor tensor_of(const Context& ctx, const Shape& shape, DType dtype,
                 std::span<const double> values);

}  // namespace bigbigan
