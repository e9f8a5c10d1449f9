#include "kernels/common/dispatch.h"
#include "kernels/common/dot.h"
#include "kernels/common/widened.h"
#include "kernels/elementwise/binary_shapes.h"

namespace bigbigan {

void add(const CpuExec& ex, ConstView a, ConstView b, View y) {
  const Observed observed(ex, moved({a, b, y}));
  if (ex.plan_only) return;
  check_shape("add", "b", b.shape, a.shape);
  check_shape("add", "y", y.shape, a.shape);
  dispatch_float("add", a.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T *pa = a.as<T>(), *pb = b.as<T>();
    T* out = y.as<T>();
    ex.for_range(a.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = T(A(pa[i]) + A(pb[i]));
    });
  });
}

void add_bias(const CpuExec& ex, ConstView x, ConstView bias, View y) {
  const Observed observed(ex, moved({x, bias, y}));
  if (ex.plan_only) return;
  const int64_t channels = x.shape[-1];
  check_shape("add_bias", "bias", bias.shape, {channels});
  check_shape("add_bias", "y", y.shape, x.shape);
  if (x.elems() == 0) return;
  dispatch_float("add_bias", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T *in = x.as<T>(), *shift = bias.as<T>();
    T* out = y.as<T>();
    const int64_t rows = x.elems() / channels;
    const int64_t grain = std::max<int64_t>(1, kElementGrain / channels);
    ex.for_range(rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t c = 0; c < channels; ++c) {
          out[r * channels + c] = T(A(in[r * channels + c]) + A(shift[c]));
        }
      }
    });
  });
}

void scale_by(const CpuExec& ex, ConstView gamma, ConstView x, View y, bool accumulate) {
  const Observed observed(ex, moved({x, y, accumulate ? y : View()}));
  if (ex.plan_only) return;
  check_scale_by(gamma, x, y, accumulate);
  const WidenedResult result(y, accumulate);
  const View out = result;
  dispatch_real("scale_by", x.dtype, [&]<class T>(TypeTag<T>) {
    const T factor = *gamma.as<T>();
    const T* in = x.as<T>();
    T* to = out.as<T>();
    ex.for_range(x.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = (accumulate ? to[i] : T(0)) + factor * in[i];
    });
  });
}

int64_t inner_product_scratch_elems(int64_t elems) {
  return (elems + kElementGrain - 1) / kElementGrain;
}

void inner_product(const CpuExec& ex, ConstView a, ConstView b, View sum, bool accumulate,
                   View scratch) {
  const Observed observed(ex, moved({a, b, sum}));
  if (ex.plan_only) return;
  check_inner_product(a, b, sum, scratch);
  auto* partial = scratch.as<double>();
  dispatch_real("inner_product", a.dtype, [&]<class T>(TypeTag<T>) {
    const T *left = a.as<T>(), *right = b.as<T>();
    ex.for_range(a.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      partial[begin / kElementGrain] = dot(left + begin, right + begin, end - begin);
    });
    double total = accumulate ? double(*sum.as<T>()) : 0.0;
    for (int64_t i = 0; i < inner_product_scratch_elems(a.elems()); ++i) total += partial[i];
    *sum.as<T>() = T(total);
  });
}

}  // namespace bigbigan
