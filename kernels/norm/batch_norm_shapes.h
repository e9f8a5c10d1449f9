// Shape checks that the launchers of batch_norm.h share.
#pragma once

#include "kernels/norm/batch_norm.h"

namespace bigbigan {

struct BatchNormSizes {
  int64_t n = 0, h = 1, w = 1, c = 0;
  [[nodiscard]] int64_t pixels() const { return h * w; }
};

inline BatchNormSizes batch_norm_sizes(const Shape& x) {
  check(x.rank() == 2 || x.rank() == 4, "batch_norm: x is {}, expected (N,C) or (N,H,W,C)", x);
  return x.rank() == 4 ? BatchNormSizes{x[0], x[1], x[2], x[3]} : BatchNormSizes{x[0], 1, 1, x[1]};
}

// `y`: the shape of the output or of its gradient.
inline void check_batch_norm(const BatchNormArgs& args, const Shape& y) {
  const BatchNormSizes s = batch_norm_sizes(args.x.shape);
  check_shape("batch_norm", "statistics", args.statistics.shape, {2, s.c});
  for (const ConstView& p : {args.gain, args.bias}) {
    if (p && p.shape.rank() == 2) check_shape("batch_norm", "gain or bias", p.shape, {s.n, s.c});
    if (p && p.shape.rank() != 2) check_shape("batch_norm", "gain or bias", p.shape, {s.c});
  }
  check_shape("batch_norm", "y", y,
              args.upsample ? Shape{s.n, 2 * s.h, 2 * s.w, s.c} : args.x.shape);
}

}  // namespace bigbigan
