// The check that the launchers of fold_weight.h share.
#pragma once

#include "kernels/conv/fold_weight.h"

namespace bigbigan {

// `swap`: v has w's first and last axis exchanged.
inline void check_folded(const char* op, const Shape& w, const Shape& v, bool swap) {
  check(w.rank() == 4 && w[1] == 3 && w[2] == 3, "{}: weight {}, expected (K,3,3,C)", op, w);
  check_shape(op, "v", v, swap ? Shape{w[3], 4, 4, w[0]} : Shape{w[0], 4, 4, w[3]});
}

}  // namespace bigbigan
