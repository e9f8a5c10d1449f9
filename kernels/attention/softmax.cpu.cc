#include "kernels/attention/softmax.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

// Calls body(offset of the row) for every row of `width` elements, in parallel.
template <class Body>
void for_rows(const CpuExec& ex, int64_t elems, int64_t width, const Body& body) {
  if (elems == 0) return;
  ex.for_range(elems / width, std::max<int64_t>(1, kElementGrain / width),
               [&](int64_t begin, int64_t end) {
                 for (int64_t r = begin; r < end; ++r) body(r * width);
               });
}

}  // namespace

void softmax_forward(const CpuExec& ex, ConstView x, View y) {
  const Observed observed(ex);
  check_shape("softmax", "y", y.shape, x.shape);
  const int64_t width = x.shape[-1];
  dispatch_float("softmax", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    for_rows(ex, x.elems(), width, [&](int64_t row) {
      const T* in = x.as<T>() + row;
      T* out = y.as<T>() + row;
      A maximum = A(in[0]), sum = 0;
      for (int64_t i = 1; i < width; ++i) maximum = std::max(maximum, A(in[i]));
      for (int64_t i = 0; i < width; ++i) sum += std::exp(A(in[i]) - maximum);
      for (int64_t i = 0; i < width; ++i) out[i] = T(std::exp(A(in[i]) - maximum) / sum);
    });
  });
}

void softmax_backward(const CpuExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate) {
  const Observed observed(ex);
  check_shape("softmax", "d_y", d_y.shape, y.shape);
  check_shape("softmax", "d_x", d_x.shape, y.shape);
  const int64_t width = y.shape[-1];
  dispatch_float("softmax", y.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    for_rows(ex, y.elems(), width, [&](int64_t row) {
      const T *out = y.as<T>() + row, *g = d_y.as<T>() + row;
      T* to = d_x.as<T>() + row;
      A inner = 0;
      for (int64_t i = 0; i < width; ++i) inner += A(g[i]) * A(out[i]);
      for (int64_t i = 0; i < width; ++i) {
        const A value = A(out[i]) * (A(g[i]) - inner);
        to[i] = T(accumulate ? A(to[i]) + value : value);
      }
    });
  });
}

}  // namespace bigbigan
