// The checks that the launchers of projections.h share.
#pragma once

#include "kernels/attention/projections.h"

namespace bigbigan {

// Throws Error{kInternal} unless the weights' rows are the joint's.
template <class V>
void check_joined(const std::array<V, 3>& weights, const Shape& joint) {
  int64_t elems = 0, rows = 0;
  for (const V& weight : weights) {
    elems += weight.elems();
    rows += weight.shape[0];
  }
  check(rows == joint[0] && elems == joint.elems() && joint[-1] == weights[0].shape[-1],
        "join_weights: {}, {} and {} in {}", weights[0].shape, weights[1].shape, weights[2].shape,
        joint);
}

struct ProjectionSizes {
  int64_t n, h, w, p, q;           // of the images, and of the pooled ones
  int64_t depth, width, channels;  // D, V, 2 D + V

  // Strips of two rows, and windows across them: the last may lie half outside.
  [[nodiscard]] int64_t strips() const { return (h + 1) / 2; }
  [[nodiscard]] int64_t windows() const { return (w + 1) / 2; }
};

// Throws Error{kInternal} unless the shapes belong together.
inline ProjectionSizes projection_sizes(const Shape& joint, const Shape& query, const Shape& key,
                                        const Shape& value, const Shape& argmax) {
  check(joint.rank() == 4, "split_projections: joint is {}", joint);
  const int64_t n = joint[0], h = joint[1], w = joint[2], p = h / 2, q = w / 2;
  const int64_t depth = query[-1], width = joint[3] - 2 * depth;
  check_shape("split_projections", "query", query, {n, h * w, depth});
  check_shape("split_projections", "key", key, {n, p * q, depth});
  check_shape("split_projections", "value", value, {n, p * q, width});
  check_shape("split_projections", "argmax", argmax, {n, p, q, depth + width});
  return {n, h, w, p, q, depth, width, joint[3]};
}

}  // namespace bigbigan
