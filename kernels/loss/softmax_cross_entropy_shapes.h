// What softmax_cross_entropy of all backends requires of its arguments.
#pragma once

#include "kernels/loss/softmax_cross_entropy.h"

namespace bigbigan {

inline void check_cross_entropy(const CrossEntropyArgs& a) {
  constexpr auto kOp = "softmax_cross_entropy";
  check(a.logits.shape.rank() == 2, "{}: logits are {}, expected (N, C)", kOp, a.logits.shape);
  check_shape(kOp, "labels", a.labels.shape, {a.logits.shape[0]});
  if (a.d_logits) check_shape(kOp, "d_logits", a.d_logits.shape, a.logits.shape);
  if (!a.terms) return;
  check_shape(kOp, "terms", a.terms.shape, {kCrossEntropyTermCount});
  const int64_t needed = cross_entropy_scratch_elems(a.logits.shape[0]);
  check(a.scratch.elems() >= needed, "{}: scratch of {}, expected {}", kOp, a.scratch.elems(),
        needed);
}

}  // namespace bigbigan
