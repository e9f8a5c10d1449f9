// The checks that the launchers of resample.h share.
#pragma once

#include "kernels/spatial/resample.h"

namespace bigbigan {

inline void check_double(const char* op, const Shape& small, const Shape& large) {
  check(small.rank() == 4, "{}: {} is not an image batch", op, small);
  check_shape(op, "the larger image", large, {small[0], 2 * small[1], 2 * small[2], small[3]});
}

}  // namespace bigbigan
