// What column sums check of their operands, on both backends.
#pragma once

#include "kernels/reduce/column_sum.h"

namespace bigbigan {

inline int64_t rows_of(const Shape& x) { return x[-1] == 0 ? 0 : x.elems() / x[-1]; }

inline void check_column_sum(const Shape& x, const ColumnSums& to, const ColumnSums& also,
                             ConstView scratch) {
  for (const ConstView& y : {ConstView(to.y), ConstView(also.y)}) {
    if (!y) continue;
    check(y.elems() == x[-1], "column_sum: y is {}, expected ({})", y.shape, x[-1]);
    check(y.dtype == to.y.dtype, "column_sum: sums in {} and in {}", name_of(to.y.dtype),
          name_of(y.dtype));
  }
  check(scratch.elems() >= column_sum_scratch_elems(x), "column_sum: scratch of {} elements",
        scratch.elems());
}

inline void check_relu_sums(ConstView y, ConstView d_y, ConstView d) {
  check_shape("relu_backward_sums", "d_y", d_y.shape, y.shape);
  check_shape("relu_backward_sums", "d", d.shape, y.shape);
}

}  // namespace bigbigan
