// The CPU's loop over the rows of an image half as large.
#pragma once

#include <algorithm>

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// Calls body(n h) for every row of pixels of the smaller image, in parallel.
template <class Body>
void for_image_rows(const CpuExec& ex, const Shape& small, const Body& body) {
  const int64_t row = std::max<int64_t>(1, small[2] * small[3]);
  ex.for_range(small[0] * small[1], std::max<int64_t>(1, kElementGrain / (4 * row)),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) body(r);
               });
}

}  // namespace bigbigan
