// 2x2 windows of NHWC images, which are the pixels of images half as large.
#pragma once

#include "kernels/common/units.cuh"

namespace bigbigan {

// Where in the image of double size the window of a unit's pixel starts, and its four pixels from
// there.
template <int N>
struct Doubled {
  int64_t first, below;
  int right;
  __device__ Doubled(uint32_t unit, int w, int c) : below(int64_t{2} * w * c), right(c) {
    const UnitPlace at = place_of<N>(unit, w, c);
    first = (at.row * 2 * below) + int64_t{2} * at.column * c + at.channel;
  }
  __device__ int64_t offset(int i, int j) const { return first + i * below + j * right; }
};

}  // namespace bigbigan
