#include "kernels/elementwise/binary.h"

#include "kernels/common/dispatch.h"

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

void add_scaled_forward(const CpuExec& ex, ConstView x, ConstView gamma, ConstView b, View y) {
  const Observed observed(ex, moved({x, b, y}));
  if (ex.plan_only) return;
  check_shape("add_scaled", "gamma", gamma.shape, {1});
  check_shape("add_scaled", "b", b.shape, x.shape);
  check_shape("add_scaled", "y", y.shape, x.shape);
  dispatch_float("add_scaled", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T *px = x.as<T>(), *pb = b.as<T>();
    T* out = y.as<T>();
    const A factor = A(*gamma.as<T>());
    ex.for_range(x.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = T(A(px[i]) + factor * A(pb[i]));
    });
  });
}

void add_scaled_backward_b(const CpuExec& ex, ConstView gamma, ConstView d_y, View d_b,
                           bool accumulate) {
  const Observed observed(ex, moved({d_y, d_b, accumulate ? d_b : View()}));
  if (ex.plan_only) return;
  check_shape("add_scaled", "d_b", d_b.shape, d_y.shape);
  dispatch_float("add_scaled", d_y.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T* g = d_y.as<T>();
    T* out = d_b.as<T>();
    const A factor = A(*gamma.as<T>());
    ex.for_range(d_y.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        out[i] = T((accumulate ? A(out[i]) : A(0)) + factor * A(g[i]));
      }
    });
  });
}

int64_t add_scaled_scratch_elems(const Shape& b) {
  return (b.elems() + kElementGrain - 1) / kElementGrain;
}

void add_scaled_backward_gamma(const CpuExec& ex, ConstView b, ConstView d_y, View d_gamma,
                               bool accumulate, View scratch) {
  const Observed observed(ex, moved({b, d_y}));
  if (ex.plan_only) return;
  check_shape("add_scaled", "d_y", d_y.shape, b.shape);
  check(scratch.elems() >= add_scaled_scratch_elems(b.shape), "add_scaled: scratch of {} elements",
        scratch.elems());
  auto* partial = scratch.as<double>();
  dispatch_float("add_scaled", b.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T *pb = b.as<T>(), *g = d_y.as<T>();
    ex.for_range(b.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      double sum = 0;
      for (int64_t i = begin; i < end; ++i) sum += double(A(pb[i])) * double(A(g[i]));
      partial[begin / kElementGrain] = sum;
    });
  });
  dispatch_float("add_scaled", d_gamma.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    double total = accumulate ? double(A(*d_gamma.as<T>())) : 0.0;
    for (int64_t i = 0; i < add_scaled_scratch_elems(b.shape); ++i) total += partial[i];
    *d_gamma.as<T>() = T(A(total));
  });
}

}  // namespace bigbigan
