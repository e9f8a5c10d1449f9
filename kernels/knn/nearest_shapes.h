// What update_nearest of all backends requires of its arguments.
#pragma once

#include "kernels/knn/nearest.h"

namespace bigbigan {

inline void check_nearest(const NearestArgs& a) {
  constexpr auto kOp = "update_nearest";
  check(a.scores.shape.rank() == 2 && a.distances.shape.rank() == 2,
        "{}: scores are {}, distances {}, expected (Q, R) and (Q, k)", kOp, a.scores.shape,
        a.distances.shape);
  check_shape(kOp, "distances", a.distances.shape, {a.scores.shape[0], a.distances.shape[1]});
  check_shape(kOp, "rows", a.rows.shape, a.distances.shape);
  check(a.distances.shape[1] > 0, "{}: lists of no length", kOp);
  if (a.offsets) check_shape(kOp, "offsets", a.offsets.shape, {a.scores.shape[1]});
}

}  // namespace bigbigan
