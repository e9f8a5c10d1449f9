// Initial values of weights.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace bigbigan {

// A rows x columns matrix with orthonormal rows (rows <= columns) or columns, row-major, uniformly
// distributed: QR of a normal matrix with the signs of R's diagonal. A pure function of (seed,
// name), so that neither the order of declaration nor the number of ranks matters. Source: Saxe et
// al. 2014; BigGAN initialises all convolution and linear weights so.
std::vector<double> orthogonal(uint64_t seed, std::string_view name, int64_t rows, int64_t columns);

}  // namespace bigbigan
