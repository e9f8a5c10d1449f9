#include "kernels/spatial/max_pool.h"

#include <cmath>

#include "kernels/common/dispatch.h"

namespace bigbigan {

Shape max_pool_shape(const Shape& x, const MaxPoolWindow& window) {
  check(
      x.rank() == 4 && x[1] + 2 * window.pad >= window.size && x[2] + 2 * window.pad >= window.size,
      "max_pool: {} with windows of {}", x, window.size);
  const auto out = [&](int64_t size) { return (size + 2 * window.pad - window.size) / 2 + 1; };
  return {x[0], out(x[1]), out(x[2]), x[3]};
}

void max_pool_forward(const CpuExec& ex, const MaxPoolWindow& window, ConstView x, View y,
                      View argmax) {
  const Observed observed(ex, moved({x, y, argmax}));
  if (ex.plan_only) return;
  check_shape("max_pool", "y", y.shape, max_pool_shape(x.shape, window));
  check_shape("max_pool", "argmax", argmax.shape, y.shape);
  const int64_t h = x.shape[1], w = x.shape[2], c = x.shape[3], p = y.shape[1], q = y.shape[2];
  dispatch_float("max_pool", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    auto* winner = argmax.as<uint8_t>();
    ex.for_chunks(y.shape[0] * p, [&](int64_t row) {
      const int64_t n = row / p, top = row % p * 2 - window.pad;
      for (int64_t i = 0; i < q * c; ++i) {
        const int64_t left = i / c * 2 - window.pad, k = i % c;
        A best = 0;
        uint8_t at = 0;
        for (int64_t tap = 0; tap < window.size * window.size; ++tap) {
          const int64_t a = top + tap / window.size, b = left + tap % window.size;
          const bool inside = a >= 0 && a < h && b >= 0 && b < w;
          const A value = inside ? A(x.as<T>()[((n * h + a) * w + b) * c + k]) : A(0);
          if (tap == 0 || value > best || std::isnan(value)) {  // a NaN is kept
            best = value;
            at = static_cast<uint8_t>(tap);
          }
        }
        y.as<T>()[row * q * c + i] = T(best);
        winner[row * q * c + i] = at;
      }
    });
  });
}

void max_pool_backward(const CpuExec& ex, const MaxPoolWindow& window, ConstView argmax,
                       ConstView d_y, View d_x, bool accumulate) {
  const Observed observed(ex, moved({argmax, d_y, d_x, accumulate ? d_x : View()}));
  if (ex.plan_only) return;
  check_shape("max_pool", "d_y", d_y.shape, max_pool_shape(d_x.shape, window));
  const int64_t h = d_x.shape[1], w = d_x.shape[2], c = d_x.shape[3];
  const int64_t p = d_y.shape[1], q = d_y.shape[2];
  dispatch_float("max_pool", d_y.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const auto* winner = argmax.as<uint8_t>();
    ex.for_chunks(d_x.shape[0], [&](int64_t n) {
      T* image = d_x.as<T>() + n * h * w * c;
      if (!accumulate) std::fill(image, image + h * w * c, T(A(0)));
      for (int64_t i = 0; i < p * q * c; ++i) {
        const int64_t from = n * p * q * c + i, pixel = i / c;
        const int64_t a = pixel / q * 2 - window.pad + winner[from] / window.size;
        const int64_t b = pixel % q * 2 - window.pad + winner[from] % window.size;
        if (a < 0 || a >= h || b < 0 || b >= w) continue;  // a zero of the padding won
        T& target = image[(a * w + b) * c + i % c];
        target = T(A(target) + A(d_y.as<T>()[from]));
      }
    });
  });
}

}  // namespace bigbigan
