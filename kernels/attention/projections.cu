#include <numeric>

#include "kernels/attention/projections_shapes.h"
#include "kernels/common/dispatch.cuh"
#include "kernels/common/units.cuh"

namespace bigbigan {
namespace {

constexpr int kThreads = 256;  // memory-bound: enough warps to hide latency at any register count

// Three weights, and where in their joint the second and third begin, in elements.
template <class T>
struct Weights {
  T *theta, *phi, *g;
  int64_t phi_first, g_first;
  bool accumulate_theta, accumulate_phi, accumulate_g;
};

// The weight that element i of the joint is of.
template <class T, class Body>
__device__ inline void with_weight(const Weights<T>& w, int64_t i, const Body& body) {
  if (i < w.phi_first) {
    body(w.theta, w.accumulate_theta, i);
  } else if (i < w.g_first) {
    body(w.phi, w.accumulate_phi, i - w.phi_first);
  } else {
    body(w.g, w.accumulate_g, i - w.g_first);
  }
}

template <class T, int N>
__global__ void join_kernel(const Weights<const T> w, uint32_t units, T* joint) {
  for_each_unit(units, [&](uint32_t u) {
    with_weight(w, int64_t{u} * N, [&](const T* from, bool, int64_t i) {
      float v[N];
      load(from + i, v);
      store(joint + int64_t{u} * N, v);
    });
  });
}

template <int N>
__global__ void join_backward_kernel(const float* __restrict__ d_joint, uint32_t units,
                                     const Weights<float> w) {
  for_each_unit(units, [&](uint32_t u) {
    with_weight(w, int64_t{u} * N, [&](float* to, bool accumulate, int64_t i) {
      if (to == nullptr) return;
      float v[N], before[N] = {};
      load(d_joint + int64_t{u} * N, v);
      if (accumulate) load(to + i, before);
#pragma unroll
      for (int k = 0; k < N; ++k) v[k] += before[k];
      store(to + i, v);
    });
  });
}

// Of ProjectionSizes, in 32 bits.
struct Extents {
  int h, w, p, q, strips, windows, depth, width, channels;
};

Extents extents_of(const ProjectionSizes& s) {
  const auto narrow = [](int64_t extent) {
    check(extent == static_cast<int>(extent), "split_projections: an extent of {}", extent);
    return static_cast<int>(extent);
  };
  return {narrow(s.h),     narrow(s.w),        narrow(s.p),
          narrow(s.q),     narrow(s.strips()), narrow(s.windows()),
          narrow(s.depth), narrow(s.width),    narrow(s.channels)};
}

// What a thread works on: N channels of the four pixels of a window.
template <int N>
struct WindowPlace {
  int64_t image, window;  // the window among the pooled pixels, if it is whole
  int top, left, channel;
  bool whole;

  __device__ WindowPlace(uint32_t unit, const Extents& e) {
    const UnitPlace at = place_of<N>(unit, e.windows, e.channels);
    image = at.row / e.strips;
    const int strip = static_cast<int>(at.row - image * e.strips);
    window = (image * e.p + strip) * e.q + at.column;
    top = 2 * strip;
    left = 2 * at.column;
    channel = at.channel;
    whole = strip < e.p && at.column < e.q;
  }
  // body(tap, number of the pixel) for those of the four that lie in the image.
  template <class Body>
  __device__ void for_pixels(const Extents& e, const Body& body) const {
#pragma unroll
    for (int tap = 0; tap < 4; ++tap) {
      const int y = top + tap / 2, x = left + tap % 2;
      if (y < e.h && x < e.w) body(tap, (image * e.h + y) * e.w + x);
    }
  }
};

template <class T, int N>
__global__ void split_kernel(const T* __restrict__ joint, uint32_t units, Extents e, T* query,
                             T* key, T* value, uint8_t* argmax) {
  for_each_unit(units, [&](uint32_t u) {
    const WindowPlace<N> at(u, e);
    float v[4][N] = {};
    at.for_pixels(
        e, [&](int tap, int64_t pixel) { load(joint + pixel * e.channels + at.channel, v[tap]); });
    if (at.channel < e.depth) {
      at.for_pixels(
          e, [&](int tap, int64_t pixel) { store(query + pixel * e.depth + at.channel, v[tap]); });
      return;
    }
    if (!at.whole) return;
    uint8_t winner[N] = {};
#pragma unroll
    for (int tap = 1; tap < 4; ++tap) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        if (v[tap][k] > v[0][k] || v[tap][k] != v[tap][k]) {  // a NaN is kept
          v[0][k] = v[tap][k];
          winner[k] = static_cast<uint8_t>(tap);
        }
      }
    }
    const int c = at.channel - e.depth;
    store_bytes(argmax + at.window * (e.depth + e.width) + c, winner);
    store(c < e.depth ? key + at.window * e.depth + c : value + at.window * e.width + c - e.depth,
          v[0]);
  });
}

template <class T, int N>
__global__ void split_backward_kernel(const uint8_t* __restrict__ argmax,
                                      const T* __restrict__ d_query, const T* __restrict__ d_key,
                                      const T* __restrict__ d_value, uint32_t units, Extents e,
                                      bool accumulate, T* d_joint) {
  for_each_unit(units, [&](uint32_t u) {
    const WindowPlace<N> at(u, e);
    float v[4][N] = {};
    if (at.channel < e.depth) {
      at.for_pixels(
          e, [&](int tap, int64_t pixel) { load(d_query + pixel * e.depth + at.channel, v[tap]); });
    } else if (at.whole) {
      const int c = at.channel - e.depth;
      float d[N];
      uint8_t winner[N];
      load(c < e.depth ? d_key + at.window * e.depth + c
                       : d_value + at.window * e.width + c - e.depth,
           d);
      load_bytes(argmax + at.window * (e.depth + e.width) + c, winner);
#pragma unroll
      for (int tap = 0; tap < 4; ++tap) {
#pragma unroll
        for (int k = 0; k < N; ++k) v[tap][k] = winner[k] == tap ? d[k] : 0.0f;
      }
    }
    at.for_pixels(e, [&](int tap, int64_t pixel) {
      T* to = d_joint + pixel * e.channels + at.channel;
      float before[N] = {};
      if (accumulate) load(to, before);
#pragma unroll
      for (int k = 0; k < N; ++k) v[tap][k] += before[k];
      store(to, v[tap]);
    });
  });
}

int64_t units_of(const ProjectionSizes& s, int elems) {
  return s.n * s.strips() * s.windows() * s.channels / elems;
}

}  // namespace

void join_weights(const CudaExec& ex, const std::array<ConstView, 3>& weights, View joint) {
  const Observed observed(ex);
  check_joined(weights, joint.shape);
  dispatch_cuda("join_weights", joint.dtype, [&]<class T>(TypeTag<T>) {
    const Weights<const T> w{.theta = weights[0].as<T>(),
                             .phi = weights[1].as<T>(),
                             .g = weights[2].as<T>(),
                             .phi_first = weights[0].elems(),
                             .g_first = weights[0].elems() + weights[1].elems()};
    const bool aligned = all_aligned(w.theta, w.phi, w.g, joint.as<T>());
    dispatch_width<T>(joint.shape[-1], aligned, [&]<int N>(Width<N>) {
      const int64_t units = joint.elems() / N;
      launch(join_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream, w, units,
             joint.as<T>());
    });
  });
}

void join_weights_backward(const CudaExec& ex, const JoinWeightsBackwardArgs& a) {
  const Observed observed(ex);
  check_joined(a.d_weights, a.d_joint.shape);
  const auto data = [&](int i) { return a.d_weights[i] ? a.d_weights[i].as<float>() : nullptr; };
  const Weights<float> w{.theta = data(0),
                         .phi = data(1),
                         .g = data(2),
                         .phi_first = a.d_weights[0].elems(),
                         .g_first = a.d_weights[0].elems() + a.d_weights[1].elems(),
                         .accumulate_theta = a.accumulate[0],
                         .accumulate_phi = a.accumulate[1],
                         .accumulate_g = a.accumulate[2]};
  const bool aligned = all_aligned(w.theta, w.phi, w.g, a.d_joint.as<float>());
  dispatch_width<float>(a.d_joint.shape[-1], aligned, [&]<int N>(Width<N>) {
    const int64_t units = a.d_joint.elems() / N;
    launch(join_backward_kernel<N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
           a.d_joint.as<float>(), units, w);
  });
}

void split_projections(const CudaExec& ex, ConstView joint, View query, View key, View value,
                       View argmax) {
  const Observed observed(ex);
  const ProjectionSizes s =
      projection_sizes(joint.shape, query.shape, key.shape, value.shape, argmax.shape);
  dispatch_cuda("split_projections", joint.dtype, [&]<class T>(TypeTag<T>) {
    const bool aligned = all_aligned(joint.data, query.data, key.data, value.data, argmax.data);
    dispatch_half_width<T>(std::gcd(s.depth, s.width), aligned, [&]<int N>(Width<N>) {
      const int64_t units = units_of(s, N);
      launch(split_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
             joint.as<T>(), units, extents_of(s), query.as<T>(), key.as<T>(), value.as<T>(),
             argmax.as<uint8_t>());
    });
  });
}

void split_projections_backward(const CudaExec& ex, const SplitProjectionsBackwardArgs& a) {
  const Observed observed(ex);
  const ProjectionSizes s = projection_sizes(a.d_joint.shape, a.d_query.shape, a.d_key.shape,
                                             a.d_value.shape, a.argmax.shape);
  dispatch_cuda("split_projections", a.d_joint.dtype, [&]<class T>(TypeTag<T>) {
    const bool aligned =
        all_aligned(a.argmax.data, a.d_query.data, a.d_key.data, a.d_value.data, a.d_joint.data);
    dispatch_half_width<T>(std::gcd(s.depth, s.width), aligned, [&]<int N>(Width<N>) {
      const int64_t units = units_of(s, N);
      launch(split_backward_kernel<T, N>, unit_blocks(units, kThreads), kThreads, 0, ex.stream,
             a.argmax.as<uint8_t>(), a.d_query.as<T>(), a.d_key.as<T>(), a.d_value.as<T>(), units,
             extents_of(s), a.accumulate, a.d_joint.as<T>());
    });
  });
}

}  // namespace bigbigan
