#include "kernels/linear/embedding.h"

#include "kernels/common/dispatch.h"

namespace bigbigan {

void embedding_forward(const CpuExec& ex, ConstView table, ConstView labels, View y) {
  const Observed observed(ex, moved({labels, y, y}));
  if (ex.plan_only) return;
  const int64_t n = labels.shape[0], width = table.shape[1];
  check_shape("embedding", "y", y.shape, {n, width});
  dispatch_float("embedding", table.dtype, [&]<class T>(TypeTag<T>) {
    for (int64_t i = 0; i < n; ++i) {
      const int32_t label = labels.as<int32_t>()[i];
      check(0 <= label && label < table.shape[0], "embedding: label {} of {} classes", label,
            table.shape[0]);
      std::copy_n(table.as<T>() + label * width, width, y.as<T>() + i * width);
    }
  });
}

void embedding_backward(const CpuExec& ex, ConstView labels, ConstView d_y, View d_table,
                        bool accumulate) {
  const Observed observed(ex, moved({labels, d_y, d_table}));
  if (ex.plan_only) return;
  const int64_t n = labels.shape[0], width = d_table.shape[1];
  check_shape("embedding", "d_y", d_y.shape, {n, width});
  dispatch_float("embedding", d_y.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    A* out = d_table.as<A>();
    if (!accumulate) std::fill(out, out + d_table.elems(), A(0));
    for (int64_t i = 0; i < n; ++i) {
      A* row = out + labels.as<int32_t>()[i] * width;
      for (int64_t k = 0; k < width; ++k) row[k] += A(d_y.as<T>()[i * width + k]);
    }
  });
}

}  // namespace bigbigan
