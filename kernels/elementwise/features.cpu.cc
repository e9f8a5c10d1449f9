#include "kernels/elementwise/features_shapes.h"

#include "kernels/common/dispatch.h"

namespace bigbigan {

void copy_features(const CpuExec& ex, ConstView x, int64_t x_begin, View y, int64_t y_begin,
                   int64_t count, bool accumulate) {
  const int64_t rows = rows_of_features(x, x_begin, y, y_begin, count);
  const ConstView part(x.data, {rows, count}, x.dtype);
  const Observed observed(ex, moved({part, part, accumulate ? part : ConstView()}));
  if (ex.plan_only) return;
  const int64_t x_width = x.shape[-1], y_width = y.shape[-1];
  dispatch_float("copy_features", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T* in = x.as<T>() + x_begin;
    T* out = y.as<T>() + y_begin;
    const int64_t grain = std::max<int64_t>(1, kElementGrain / std::max<int64_t>(count, 1));
    ex.for_range(rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const T* from = in + r * x_width;
        T* to = out + r * y_width;
        for (int64_t c = 0; c < count; ++c) to[c] = accumulate ? T(A(to[c]) + A(from[c])) : from[c];
      }
    });
  });
}

}  // namespace bigbigan
