// Checks that the launchers of conv2d.h share.
#pragma once

#include "kernels/conv/conv2d.h"

namespace bigbigan {

inline void check_fprop(const ConvGeometry& g, ConstView x, ConstView w, ConstView bias,
                        ConstView y) {
  check_shape("conv2d", "x", x.shape, g.x());
  check_shape("conv2d", "w", w.shape, g.weight());
  check_shape("conv2d", "y", y.shape, g.y());
  if (bias) check_shape("conv2d", "bias", bias.shape, {g.k});
}

inline void check_dgrad(const ConvGeometry& g, ConstView d_y, ConstView w, ConstView bias,
                        ConstView d_x) {
  check_shape("conv2d", "d_y", d_y.shape, g.y());
  check_shape("conv2d", "w", w.shape, g.weight());
  check_shape("conv2d", "d_x", d_x.shape, g.x());
  if (bias) check_shape("conv2d", "bias", bias.shape, {g.c});
}

inline void check_wgrad(const ConvGeometry& g, ConstView x, ConstView d_y, ConstView d_w) {
  check_shape("conv2d", "x", x.shape, g.x());
  check_shape("conv2d", "d_y", d_y.shape, g.y());
  check_shape("conv2d", "d_w", d_w.shape, g.weight());
}

}  // namespace bigbigan
