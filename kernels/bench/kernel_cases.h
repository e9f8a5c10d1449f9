// The families that kernel_cases() puts together.
#pragma once

#include "kernels/bench/kernel_case.h"

namespace bigbigan {

std::vector<KernelCase> norm_kernels(const KernelSizes& sizes);
std::vector<KernelCase> weight_kernels(const KernelSizes& sizes);  // spectral norm, optimiser
std::vector<KernelCase> attention_kernels(const KernelSizes& sizes);
std::vector<KernelCase> product_kernels(const KernelSizes& sizes);  // of NVIDIA's libraries
std::vector<KernelCase> knn_kernels(const KernelSizes& sizes);

}  // namespace bigbigan
