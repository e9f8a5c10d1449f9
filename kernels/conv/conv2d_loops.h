// Convolution by plain loops: the f64 implementation, and the oracle of every other.
#pragma once

#include "kernels/conv/conv2d.h"

namespace bigbigan::loops {

// Calls body(x pixel, y pixel, weight tap) for the taps of image `n` that lie inside x; the
// arguments are element offsets of channel 0.
template <class Body>
void for_each_tap(const ConvGeometry& g, int64_t n, const Body& body) {
  for (int64_t p = 0; p < g.p; ++p) {
    for (int64_t q = 0; q < g.q; ++q) {
      const int64_t y = ((n * g.p + p) * g.q + q) * g.k;
      for (int64_t r = 0; r < g.r; ++r) {
        const int64_t h = p * g.stride + r - g.pad;
        if (h < 0 || h >= g.h) continue;
        for (int64_t s = 0; s < g.s; ++s) {
          const int64_t w = q * g.stride + s - g.pad;
          if (w < 0 || w >= g.w) continue;
          body(((n * g.h + h) * g.w + w) * g.c, y, (r * g.s + s) * g.c);
        }
      }
    }
  }
}

template <class T>
void conv2d_fprop(const CpuExec& ex, const ConvGeometry& g, const T* x, const T* w, const T* bias,
                  bool relu, T* y) {
  ex.for_chunks(g.n, [&](int64_t n) {
    T* image = y + n * g.p * g.q * g.k;
    for (int64_t i = 0; i < g.p * g.q * g.k; ++i) image[i] = bias != nullptr ? bias[i % g.k] : T(0);
    for_each_tap(g, n, [&](int64_t from, int64_t to, int64_t tap) {
      for (int64_t k = 0; k < g.k; ++k) {
        T sum = 0;
        const T* row = w + k * g.r * g.s * g.c + tap;
        for (int64_t c = 0; c < g.c; ++c) sum += x[from + c] * row[c];
        y[to + k] += sum;
      }
    });
    if (!relu) return;
    // Keeps a NaN.
    for (int64_t i = 0; i < g.p * g.q * g.k; ++i) image[i] = image[i] < 0 ? T(0) : image[i];
  });
}

template <class T>
void conv2d_dgrad(const CpuExec& ex, const ConvGeometry& g, const T* d_y, const T* w, const T* bias,
                  T* d_x, bool accumulate) {
  ex.for_chunks(g.n, [&](int64_t n) {
    T* image = d_x + n * g.h * g.w * g.c;
    for (int64_t i = 0; i < g.h * g.w * g.c; ++i) {
      image[i] = (accumulate ? image[i] : T(0)) + (bias != nullptr ? bias[i % g.c] : T(0));
    }
    for_each_tap(g, n, [&](int64_t to, int64_t from, int64_t tap) {
      for (int64_t k = 0; k < g.k; ++k) {
        const T* row = w + k * g.r * g.s * g.c + tap;
        for (int64_t c = 0; c < g.c; ++c) d_x[to + c] += d_y[from + k] * row[c];
      }
    });
  });
}

// One chunk per output channel: each weight is summed by one thread, in order of the samples.
template <class T>
void conv2d_wgrad(const CpuExec& ex, const ConvGeometry& g, const T* x, const T* d_y, T* d_w,
                  bool accumulate) {
  ex.for_chunks(g.k, [&](int64_t k) {
    T* filter = d_w + k * g.r * g.s * g.c;
    if (!accumulate) std::fill(filter, filter + g.r * g.s * g.c, T(0));
    for (int64_t n = 0; n < g.n; ++n) {
      for_each_tap(g, n, [&](int64_t from, int64_t to, int64_t tap) {
        for (int64_t c = 0; c < g.c; ++c) filter[tap + c] += d_y[to + k] * x[from + c];
      });
    }
  });
}

}  // namespace bigbigan::loops
