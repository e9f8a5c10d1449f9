#include "kernels/spatial/relu_pool.h"

#include "kernels/common/dispatch.h"
#include "kernels/spatial/image_rows.h"
#include "kernels/spatial/resample_shapes.h"

namespace bigbigan {

void relu_pool_forward(const CpuExec& ex, ConstView x, View y, View pooled) {
  const Observed observed(ex, moved({x, y, pooled}));
  if (ex.plan_only) return;
  check_double("relu_pool", pooled.shape, x.shape);
  check_shape("relu_pool", "y", y.shape, x.shape);
  const int64_t w = pooled.shape[2], c = pooled.shape[3], row = 2 * w * c;
  dispatch_float("relu_pool", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    for_image_rows(ex, pooled.shape, [&](int64_t r) {
      const T* from = x.as<T>() + 2 * r * row;
      T* active = y.as<T>() + 2 * r * row;
      for (int64_t i = 0; i < 2 * row; ++i) {
        active[i] = A(from[i]) < 0 ? T(A(0)) : from[i];  // keeps a NaN
      }
      T* mean = pooled.as<T>() + r * w * c;
      for (int64_t i = 0; i < w; ++i) {
        const T *a = from + 2 * i * c, *b = a + row;
        for (int64_t k = 0; k < c; ++k) {
          const A sum = (A(a[k]) + A(a[c + k])) + (A(b[k]) + A(b[c + k]));
          mean[i * c + k] = T(A(0.25) * sum);
        }
      }
    });
  });
}

void relu_pool_backward(const CpuExec& ex, ConstView y, ConstView d_y, ConstView d_pooled, View d_x,
                        bool accumulate) {
  const Observed observed(ex, moved({y, d_y, d_pooled, d_x, accumulate ? d_x : View()}));
  if (ex.plan_only) return;
  check_double("relu_pool", d_pooled.shape, y.shape);
  check_shape("relu_pool", "d_y", d_y.shape, y.shape);
  check_shape("relu_pool", "d_x", d_x.shape, y.shape);
  const int64_t w = d_pooled.shape[2], c = d_pooled.shape[3];
  dispatch_float("relu_pool", y.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    for_image_rows(ex, d_pooled.shape, [&](int64_t r) {
      const T* mean = d_pooled.as<T>() + r * w * c;
      for (int64_t i = 0; i < 4 * w; ++i) {  // the pixels of two rows
        const int64_t at = (4 * r * w + i) * c;
        const T *active = y.as<T>() + at, *g = d_y.as<T>() + at, *m = mean + i % (2 * w) / 2 * c;
        T* out = d_x.as<T>() + at;
        for (int64_t k = 0; k < c; ++k) {
          const A value = A(g[k]);
          const A sum = (A(active[k]) > 0 ? value : A(0)) + A(0.25) * A(m[k]);
          out[k] = T(accumulate ? A(out[k]) + sum : sum);
        }
      }
    });
  });
}

}  // namespace bigbigan
