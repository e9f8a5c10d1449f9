#include "kernels/common/dispatch.cuh"
#include "kernels/common/units.cuh"
#include "kernels/spatial/max_pool.h"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count
constexpr int kStride = 2;     // of every MaxPoolWindow

// Extents of x (N, h, w, c) and y (N, p, q, c), and the window between them.
struct Geometry {
  int h, w, c, p, q, size, pad;
};

Geometry geometry_of(const Shape& x, const Shape& y, const MaxPoolWindow& window) {
  const auto narrow = [](int64_t extent) {
    check(extent == static_cast<int>(extent), "max_pool: an extent of {}", extent);
    return static_cast<int>(extent);
  };
  return {narrow(x[1]), narrow(x[2]),        narrow(x[3]),      narrow(y[1]),
          narrow(y[2]), narrow(window.size), narrow(window.pad)};
}

// y = the largest of each window, argmax = its number. A unit lies in y.
template <class T, int N>
__global__ void max_pool_kernel(const T* __restrict__ x, uint32_t units, Geometry g, T* y,
                                uint8_t* argmax) {
  for_each_unit(units, [&](uint32_t u) {
    const UnitPlace at = place_of<N>(u, g.q, g.c);
    const int64_t image = at.row / g.p;
    const int top = static_cast<int>(at.row - image * g.p) * kStride - g.pad;
    const int left = at.column * kStride - g.pad;
    const T* from = x + image * g.h * g.w * g.c + at.channel;
    float best[N] = {};
    uint8_t winner[N] = {};
    for (int tap = 0, i = 0; i < g.size; ++i) {
      for (int j = 0; j < g.size; ++j, ++tap) {
        const int a = top + i, b = left + j;
        float v[N] = {};
        if (a >= 0 && a < g.h && b >= 0 && b < g.w) {
          load(from + (static_cast<int64_t>(a) * g.w + b) * g.c, v);
        }
#pragma unroll
        for (int k = 0; k < N; ++k) {
          if (tap == 0 || v[k] > best[k] || v[k] != v[k]) {  // a NaN is kept
            best[k] = v[k];
            winner[k] = static_cast<uint8_t>(tap);
          }
        }
      }
    }
    const int64_t to = static_cast<int64_t>(u) * N;
    store(y + to, best);
    store_bytes(argmax + to, winner);
  });
}

// d_x (+)= d_y of the windows in which the pixel won. A unit lies in d_x and gathers, in order of
// the windows.
template <class T, int N>
__global__ void max_pool_backward_kernel(const uint8_t* __restrict__ argmax,
                                         const T* __restrict__ d_y, uint32_t units, Geometry g,
                                         bool accumulate, T* d_x) {
  for_each_unit(units, [&](uint32_t u) {
    const UnitPlace at = place_of<N>(u, g.w, g.c);
    const int64_t image = at.row / g.h;
    // Seen from the padded corner; a window w covers the rows 2 w ... 2 w + size - 1 from there.
    const int a = static_cast<int>(at.row - image * g.h) + g.pad, b = at.column + g.pad;
    const auto first = [&](int place) { return max(place - g.size + kStride, 0) / kStride; };
    const int64_t base = image * g.p * g.q * g.c + at.channel;
    T* to = d_x + static_cast<int64_t>(u) * N;
    float sum[N] = {};
    if (accumulate) load(to, sum);
    for (int p = first(a); p <= min(a / kStride, g.p - 1); ++p) {
      for (int q = first(b); q <= min(b / kStride, g.q - 1); ++q) {
        const int tap = (a - kStride * p) * g.size + b - kStride * q;
        const int64_t window = base + (static_cast<int64_t>(p) * g.q + q) * g.c;
        float v[N];
        uint8_t winner[N];
        load(d_y + window, v);
        load_bytes(argmax + window, winner);
#pragma unroll
        for (int k = 0; k < N; ++k) sum[k] += winner[k] == tap ? v[k] : 0.0f;
      }
    }
    store(to, sum);
  });
}

}  // namespace

void max_pool_forward(const CudaExec& ex, const MaxPoolWindow& window, ConstView x, View y,
                      View argmax) {
  const Observed observed(ex);
  check_shape("max_pool", "y", y.shape, max_pool_shape(x.shape, window));
  check_shape("max_pool", "argmax", argmax.shape, y.shape);
  const Geometry g = geometry_of(x.shape, y.shape, window);
  dispatch_cuda("max_pool", x.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(g.c, all_aligned(x.data, y.data, argmax.data), [&]<int N>(Width<N>) {
      const int64_t units = y.elems() / N;
      launch(max_pool_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream, x.as<T>(),
             units, g, y.as<T>(), argmax.as<uint8_t>());
    });
  });
}

void max_pool_backward(const CudaExec& ex, const MaxPoolWindow& window, ConstView argmax,
                       ConstView d_y, View d_x, bool accumulate) {
  const Observed observed(ex);
  check_shape("max_pool", "d_y", d_y.shape, max_pool_shape(d_x.shape, window));
  check_shape("max_pool", "argmax", argmax.shape, d_y.shape);
  const Geometry g = geometry_of(d_x.shape, d_y.shape, window);
  dispatch_cuda("max_pool", d_y.dtype, [&]<class T>(TypeTag<T>) {
    dispatch_width<T>(g.c, all_aligned(d_y.data, d_x.data, argmax.data), [&]<int N>(Width<N>) {
      const int64_t units = d_x.elems() / N;
      launch(max_pool_backward_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
             argmax.as<uint8_t>(), d_y.as<T>(), units, g, accumulate, d_x.as<T>());
    });
  });
}

}  // namespace bigbigan
