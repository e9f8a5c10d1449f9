// What the launchers of all backends require of their arguments.
#pragma once

#include "kernels/optim/gradient_sums.h"

namespace bigbigan {

inline void check_gradient_sums(ConstView value, ConstView grad, const NormalizedWeights& weights,
                                ConstView sums, ConstView scratch) {
  check(value.elems() == grad.elems(), "gradient_sums: {} values, {} gradients", value.elems(),
        grad.elems());
  check_shape("gradient_sums", "sums", sums.shape, gradient_sums_shape(weights));
  check(scratch.elems() >= gradient_sums_scratch_elems(grad.elems(), weights),
        "gradient_sums: scratch of {}", scratch.elems());
}

inline void check_gradient_norm(const NormalizedWeights& weights, ConstView sums) {
  check_shape("gradient_norm", "sums", sums.shape, gradient_sums_shape(weights));
  check(weights.sigmas.elems() == weights.size(), "gradient_norm: {} sigmas of {} weights",
        weights.sigmas.elems(), weights.size());
}

}  // namespace bigbigan
