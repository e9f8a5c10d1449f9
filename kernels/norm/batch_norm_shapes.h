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

// `channels`: of what the statistics are of.
inline void check_batch_statistics(const BatchStatistics& out, int64_t channels) {
  check_shape("batch_norm", "moments", out.moments.shape, {1 + 2 * channels});
  check_shape("batch_norm", "statistics", out.statistics.shape, {2, channels});
  if (!out.running_mean) return;
  check_shape("batch_norm", "running mean", out.running_mean.shape, {channels});
  check_shape("batch_norm", "running variance", out.running_var.shape, {channels});
  if (out.shift) check_shape("batch_norm", "shift", out.shift.shape, {channels});
}

// The number of channels of moments `gathered` (R, 1 + 2 C).
inline int64_t channels_of_moments(ConstView gathered) {
  const Shape& s = gathered.shape;
  check(s.rank() == 2 && s[1] % 2 == 1, "batch_norm: moments {}, expected (R,1+2C)", s);
  return (s[1] - 1) / 2;
}

inline void check_batch_norm_totals(const BatchNormArgs& args, ConstView sums, ConstView totals,
                                    const BatchNormGradient& d_gain,
                                    const BatchNormGradient& d_bias) {
  const BatchNormSizes s = batch_norm_sizes(args.x.shape);
  check_shape("batch_norm", "sums", sums.shape, {s.n, 2, s.c});
  check_shape("batch_norm", "totals", totals.shape, {2, s.c});
  for (const ConstView& d : {ConstView(d_gain.view), ConstView(d_bias.view)}) {
    if (!d) continue;
    check_shape("batch_norm", "parameter gradient", d.shape,
                d.shape.rank() == 2 ? Shape{s.n, s.c} : Shape{s.c});
  }
  check(!d_gain.view || !d_bias.view || d_gain.view.dtype == d_bias.view.dtype,
        "batch_norm: gradients of gain and bias of two dtypes");
}

}  // namespace bigbigan
