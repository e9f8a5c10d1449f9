#include "kernels/common/dispatch.cuh"
#include "kernels/common/units.cuh"
#include "kernels/image/normalize.h"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count

// y = x / 127.5 - 1, mirrored where flip (N, or null) says so; h, w, c of the images. A unit is N
// neighbours of one row, which may belong to several pixels.
template <class T, int N>
__global__ void normalize_kernel(const uint8_t* __restrict__ x, const uint8_t* __restrict__ flip,
                                 uint32_t units, int h, int w, int c, T* y) {
  for_each_unit(units, [&](uint32_t u) {
    const uint32_t per_row = static_cast<uint32_t>(w) * c / N, row = u / per_row;
    const int first = static_cast<int>(u - row * per_row) * N;
    uint8_t pixel[N];
    if (flip != nullptr && flip[row / static_cast<uint32_t>(h)] != 0) {
      // Backwards by pixels, forwards by the channels of each.
      const uint8_t* from = x + static_cast<int64_t>(row) * w * c;
      int place = (w - 1 - first / c) * c, channel = first % c;
#pragma unroll
      for (int k = 0; k < N; ++k) {
        pixel[k] = from[place + channel];
        if (++channel == c) {
          channel = 0;
          place -= c;
        }
      }
    } else {
      load_bytes(x + static_cast<int64_t>(u) * N, pixel);
    }
    float v[N];
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] = static_cast<float>(pixel[k]) / 127.5f - 1.0f;
    store(y + static_cast<int64_t>(u) * N, v);
  });
}

// y = clip(128 (x + 1), 0, 255), truncated
__global__ void denormalize_kernel(const float* __restrict__ x, int64_t n, uint8_t* y) {
  for_each_pack<kPackElems<float>>(n, all_aligned(x, y), [&](auto width, int64_t i) {
    float v[width];
    uint8_t pixel[width];
    load(x + i, v);
    for (int k = 0; k < width; ++k) {
      const float value = 128.0f * (v[k] + 1.0f);
      pixel[k] = value >= 255 ? 255 : value > 0 ? static_cast<uint8_t>(value) : 0;  // NaN gives 0
    }
    store_bytes(y + i, pixel);
  });
}

}  // namespace

void normalize_image(const CudaExec& ex, ConstView x, ConstView flip, View y) {
  const Observed observed(ex);
  check(x.shape.rank() == 4, "normalize_image: {} is not an image batch", x.shape);
  check_shape("normalize_image", "y", y.shape, x.shape);
  const int64_t n = x.shape[0], h = x.shape[1], w = x.shape[2], c = x.shape[3];
  if (flip) check_shape("normalize_image", "flip", flip.shape, {n});
  const auto* mirrored = flip ? flip.as<uint8_t>() : nullptr;
  dispatch_cuda("normalize_image", y.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(w * c, all_aligned(x.data, y.data), [&]<int N>(Width<N>) {
      const int64_t units = x.elems() / N;
      launch(normalize_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
             x.as<uint8_t>(), mirrored, units, h, w, c, y.as<T>());
    });
  });
}

void denormalize_image(const CudaExec& ex, ConstView x, View y) {
  const Observed observed(ex);
  check_shape("denormalize_image", "y", y.shape, x.shape);
  const int64_t n = x.elems();
  launch(denormalize_kernel, pack_blocks<kPackElems<float>>(n, kThreads), kThreads, 0, ex.stream,
         x.as<float>(), n, y.as<uint8_t>());
}

}  // namespace bigbigan
