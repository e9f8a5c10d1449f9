#include "kernels/common/dispatch.h"
#include "kernels/spatial/image_rows.h"
#include "kernels/spatial/resample_shapes.h"

namespace bigbigan {

void upsample2x(const CpuExec& ex, ConstView x, double factor, View y, bool accumulate) {
  const Observed observed(ex, moved({x, y, accumulate ? y : View()}));
  if (ex.plan_only) return;
  check_double("upsample2x", x.shape, y.shape);
  const int64_t w = x.shape[2], c = x.shape[3];
  dispatch_float("upsample2x", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const A f = static_cast<A>(factor);
    for_image_rows(ex, x.shape, [&](int64_t r) {
      const T* from = x.as<T>() + r * w * c;
      for (int64_t half = 0; half < 2; ++half) {
        T* to = y.as<T>() + (2 * r + half) * 2 * w * c;
        for (int64_t i = 0; i < 2 * w; ++i) {
          const T* pixel = from + i / 2 * c;
          for (int64_t k = 0; k < c; ++k) {
            const A value = f * A(pixel[k]);
            to[i * c + k] = T(accumulate ? A(to[i * c + k]) + value : value);
          }
        }
      }
    });
  });
}

void pool_sum2x2(const CpuExec& ex, ConstView x, double factor, View y, bool accumulate) {
  const Observed observed(ex, moved({x, y, accumulate ? y : View()}));
  if (ex.plan_only) return;
  check_double("pool_sum2x2", y.shape, x.shape);
  const int64_t w = y.shape[2], c = y.shape[3];
  dispatch_float("pool_sum2x2", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const A f = static_cast<A>(factor);
    for_image_rows(ex, y.shape, [&](int64_t r) {
      const T* upper = x.as<T>() + 2 * r * 2 * w * c;
      const T* lower = upper + 2 * w * c;
      T* to = y.as<T>() + r * w * c;
      for (int64_t i = 0; i < w; ++i) {
        const T *a = upper + 2 * i * c, *b = lower + 2 * i * c;
        for (int64_t k = 0; k < c; ++k) {
          const A value = f * ((A(a[k]) + A(a[c + k])) + (A(b[k]) + A(b[c + k])));
          to[i * c + k] = T(accumulate ? A(to[i * c + k]) + value : value);
        }
      }
    });
  });
}

void add_upsampled(const CpuExec& ex, ConstView a, ConstView b, View y) {
  const Observed observed(ex, moved({a, b, y}));
  if (ex.plan_only) return;
  check_double("add_upsampled", b.shape, a.shape);
  check_shape("add_upsampled", "y", y.shape, a.shape);
  const int64_t w = b.shape[2], c = b.shape[3];
  dispatch_float("add_upsampled", a.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    for_image_rows(ex, b.shape, [&](int64_t r) {
      const T* small = b.as<T>() + r * w * c;
      for (int64_t half = 0; half < 2; ++half) {
        const int64_t offset = (2 * r + half) * 2 * w * c;
        const T* large = a.as<T>() + offset;
        T* to = y.as<T>() + offset;
        for (int64_t i = 0; i < 2 * w; ++i) {
          const T* pixel = small + i / 2 * c;
          for (int64_t k = 0; k < c; ++k) to[i * c + k] = T(A(large[i * c + k]) + A(pixel[k]));
        }
      }
    });
  });
}

void box_downsample(const CpuExec& ex, ConstView x, int64_t factor, View y) {
  const Observed observed(ex, moved({x, y}));
  if (ex.plan_only) return;
  check(x.shape.rank() == 4 && factor >= 1 && x.shape[1] % factor == 0 && x.shape[2] % factor == 0,
        "box_downsample: {} by {}", x.shape, factor);
  const int64_t h = x.shape[1] / factor, w = x.shape[2] / factor, c = x.shape[3];
  check_shape("box_downsample", "y", y.shape, {x.shape[0], h, w, c});
  dispatch_float("box_downsample", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const A scale = A(1) / A(factor * factor);
    for_image_rows(ex, y.shape, [&](int64_t r) {
      for (int64_t i = 0; i < w * c; ++i) {
        A sum = 0;
        for (int64_t a = 0; a < factor; ++a) {
          for (int64_t b = 0; b < factor; ++b) {
            sum += A(x.as<T>()[((r * factor + a) * w * factor + i / c * factor + b) * c + i % c]);
          }
        }
        y.as<T>()[r * w * c + i] = T(sum * scale);
      }
    });
  });
}

}  // namespace bigbigan
