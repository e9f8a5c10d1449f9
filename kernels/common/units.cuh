// Loops over tensors whose innermost axis is channels, by units of N neighbouring channels: 16
// bytes where the channels are whole packs, else single elements.
//
//   dispatch_width<T>(channels, all_aligned(x.data, y.data), [&]<int N>(Width<N>) {
//     launch(add_kernel<T, N>, unit_blocks(x.elems() / N, kThreads), kThreads, 0, stream, ...,
//            x.elems() / N, ...);
//   });
//
// Units are counted in 32 bits: their places take divisions, which are slow in 64.
#pragma once

#include <cstdint>

#include "kernels/common/width.cuh"

namespace bigbigan {

// Blocks for for_each_unit.
inline int64_t unit_blocks(int64_t units, int threads) { return pack_blocks<1>(units, threads); }

// body(u) for the units 0 ... units-1, all threads of the grid together.
template <class Body>
__device__ inline void for_each_unit(uint32_t units, const Body& body) {
  for (int64_t u = grid_thread(); u < units; u += grid_threads()) body(static_cast<uint32_t>(u));
}

// Where a unit of N channels lies in (rows, width, channels): images of NHWC are rows of pixels.
struct UnitPlace {
  int64_t row;
  int column, channel;
};
template <int N>
__device__ inline UnitPlace place_of(uint32_t unit, int width, int channels) {
  const uint32_t per_pixel = static_cast<uint32_t>(channels) / N;
  const uint32_t pixel = unit / per_pixel, row = pixel / static_cast<uint32_t>(width);
  return {row, static_cast<int>(pixel - row * static_cast<uint32_t>(width)),
          static_cast<int>(unit - pixel * per_pixel) * N};
}

}  // namespace bigbigan
