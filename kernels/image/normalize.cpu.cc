#include "kernels/image/normalize.h"

#include "kernels/common/dispatch.h"

namespace bigbigan {

void normalize_image(const CpuExec& ex, ConstView x, ConstView flip, View y) {
  const Observed observed(ex, moved({x, flip, y}));
  if (ex.plan_only) return;
  check(x.shape.rank() == 4, "normalize_image: {} is not an image batch", x.shape);
  check_shape("normalize_image", "y", y.shape, x.shape);
  const int64_t n = x.shape[0], h = x.shape[1], w = x.shape[2], c = x.shape[3];
  if (flip) check_shape("normalize_image", "flip", flip.shape, {n});
  dispatch_float("normalize_image", y.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    ex.for_chunks(n, [&](int64_t image) {
      const bool mirrored = flip && flip.as<uint8_t>()[image] != 0;
      for (int64_t row = image * h; row < (image + 1) * h; ++row) {
        for (int64_t i = 0; i < w; ++i) {
          const uint8_t* from = x.as<uint8_t>() + (row * w + (mirrored ? w - 1 - i : i)) * c;
          T* to = y.as<T>() + (row * w + i) * c;
          for (int64_t k = 0; k < c; ++k) to[k] = T(A(from[k]) / A(127.5) - A(1));
        }
      }
    });
  });
}

void denormalize_image(const CpuExec& ex, ConstView x, View y) {
  const Observed observed(ex, moved({x, y}));
  if (ex.plan_only) return;
  check_shape("denormalize_image", "y", y.shape, x.shape);
  dispatch_real("denormalize_image", x.dtype, [&]<class T>(TypeTag<T>) {
    ex.for_range(x.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T value = T(128) * (x.as<T>()[i] + T(1));
        y.as<uint8_t>()[i] = value >= T(255) ? 255 : value > T(0) ? static_cast<uint8_t>(value) : 0;
      }
    });
  });
}

}  // namespace bigbigan
