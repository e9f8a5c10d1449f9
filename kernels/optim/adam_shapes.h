// What the update launchers of all backends require of their arguments.
#pragma once

#include "kernels/optim/adam.h"

namespace bigbigan {

inline void check_update(const UpdateArgs& a) {
  const int64_t n = a.value.elems();
  check(a.grad.elems() == n && a.m.elems() == n && a.v.elems() == n,
        "optimizer_update: {} values, {} gradients, {} and {} moments", n, a.grad.elems(),
        a.m.elems(), a.v.elems());
  check((!a.average || a.average.elems() == n) && (!a.packed || a.packed.elems() == n),
        "optimizer_update: {} values, {} averages, {} packed", n, a.average.elems(),
        a.packed.elems());
  if (a.normalized.size() == 0) return;
  check_shape("optimizer_update", "sums", a.sums.shape, gradient_sums_shape(a.normalized));
}

inline void check_ema(ConstView average, ConstView value) {
  check(average.elems() == value.elems(), "ema_update: {} averages of {} values", average.elems(),
        value.elems());
}

}  // namespace bigbigan
