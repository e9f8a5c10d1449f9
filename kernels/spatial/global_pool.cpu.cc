#include "kernels/spatial/global_pool.h"

#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

int64_t pixels_of(const Shape& x) {
  check(x.rank() == 4, "global_pool: {} is not an image batch", x);
  return x[1] * x[2];
}

}  // namespace

void global_pool_forward(const CpuExec& ex, ConstView x, double factor, View y) {
  const Observed observed(ex, moved({x, y}));
  if (ex.plan_only) return;
  const int64_t pixels = pixels_of(x.shape), c = x.shape[3];
  check_shape("global_pool", "y", y.shape, {x.shape[0], c});
  dispatch_float("global_pool", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    constexpr int64_t kTile = 64;
    ex.for_chunks(x.shape[0], [&](int64_t n) {
      for (int64_t c0 = 0; c0 < c; c0 += kTile) {
        const int64_t width = std::min(kTile, c - c0);
        double sums[kTile] = {};
        for (int64_t p = 0; p < pixels; ++p) {
          const T* from = x.as<T>() + (n * pixels + p) * c + c0;
          for (int64_t i = 0; i < width; ++i) sums[i] += double(A(from[i]));
        }
        for (int64_t i = 0; i < width; ++i) y.as<T>()[n * c + c0 + i] = T(A(factor * sums[i]));
      }
    });
  });
}

void global_pool_backward(const CpuExec& ex, ConstView d_y, double factor, View d_x,
                          bool accumulate) {
  const Observed observed(ex, moved({d_y, d_x, accumulate ? d_x : View()}));
  if (ex.plan_only) return;
  const int64_t pixels = pixels_of(d_x.shape), c = d_x.shape[3];
  check_shape("global_pool", "d_y", d_y.shape, {d_x.shape[0], c});
  dispatch_float("global_pool", d_y.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const A f = static_cast<A>(factor);
    ex.for_chunks(d_x.shape[0], [&](int64_t n) {
      const T* from = d_y.as<T>() + n * c;
      T* to = d_x.as<T>() + n * pixels * c;
      for (int64_t p = 0; p < pixels; ++p) {
        for (int64_t i = 0; i < c; ++i) {
          const A value = f * A(from[i]);
          to[p * c + i] = T(accumulate ? A(to[p * c + i]) + value : value);
        }
      }
    });
  });
}

}  // namespace bigbigan
