// The checks that the launchers of features.h share.
#pragma once

#include "kernels/elementwise/features.h"

namespace bigbigan {

// Number of rows to copy; 0 where a row of either side is empty.
inline int64_t rows_of_features(ConstView x, int64_t x_begin, ConstView y, int64_t y_begin,
                                int64_t count) {
  const int64_t x_width = x.shape[-1], y_width = y.shape[-1];
  check(0 <= x_begin && x_begin + count <= x_width && 0 <= y_begin && y_begin + count <= y_width,
        "copy_features: {} features from {} of {} to {} of {}", count, x_begin, x.shape, y_begin,
        y.shape);
  if (x_width == 0 || y_width == 0) return 0;
  const int64_t rows = x.elems() / x_width;
  check(rows * y_width == y.elems(), "copy_features: {} and {} have different rows", x.shape,
        y.shape);
  return rows;
}

}  // namespace bigbigan
