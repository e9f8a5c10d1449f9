// Sums over ranks in rank order: the same bits on every rank, on every run, over any transport.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/common/view.h"

namespace bigbigan {

// sum := parts[0] + parts[1] + ..., elementwise; f32, f64, bf16 (added in f32), i32 or i64. Each
// part holds sum.elems() elements of its dtype, at any alignment.
void add_in_rank_order(std::span<const std::byte* const> parts, View sum);

}  // namespace bigbigan
