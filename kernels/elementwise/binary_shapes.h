// What the launchers of all backends require of their arguments.
#pragma once

#include "kernels/elementwise/binary.h"

namespace bigbigan {

inline void check_scale_by(ConstView gamma, ConstView x, ConstView y, bool accumulate) {
  check_shape("scale_by", "gamma", gamma.shape, {1});
  check_shape("scale_by", "y", y.shape, x.shape);
  check(gamma.dtype == x.dtype && (y.dtype == x.dtype || !accumulate),
        "scale_by: {} times {} {} {}", name_of(gamma.dtype), name_of(x.dtype),
        accumulate ? "added to" : "as", name_of(y.dtype));
}

inline void check_inner_product(ConstView a, ConstView b, ConstView sum, ConstView scratch) {
  check_shape("inner_product", "b", b.shape, a.shape);
  check_shape("inner_product", "sum", sum.shape, {1});
  check(a.dtype == b.dtype && a.dtype == sum.dtype, "inner_product: {} and {} as {}",
        name_of(a.dtype), name_of(b.dtype), name_of(sum.dtype));
  check(scratch.elems() >= inner_product_scratch_elems(a.elems()),
        "inner_product: scratch of {} elements", scratch.elems());
}

}  // namespace bigbigan
