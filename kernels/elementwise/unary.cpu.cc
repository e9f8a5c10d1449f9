#include "kernels/elementwise/unary.h"

#include <cmath>

#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

// y[i] = f(x[i]) in the accumulation type of the storage.
template <class F>
void map(const char* op, const CpuExec& ex, ConstView x, View y, const F& f) {
  check_shape(op, "y", y.shape, x.shape);
  dispatch_float(op, x.dtype, [&]<class T>(TypeTag<T>) {
    const T* in = x.as<T>();
    T* out = y.as<T>();
    ex.for_range(x.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = T(f(Accum<T>(in[i])));
    });
  });
}

// d_x[i] (+)= f(saved[i], d_y[i])
template <class F>
void map_backward(const char* op, const CpuExec& ex, ConstView saved, ConstView d_y, View d_x,
                  bool accumulate, const F& f) {
  check_shape(op, "d_y", d_y.shape, saved.shape);
  check_shape(op, "d_x", d_x.shape, saved.shape);
  dispatch_float(op, saved.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T *s = saved.as<T>(), *g = d_y.as<T>();
    T* out = d_x.as<T>();
    ex.for_range(saved.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      if (accumulate) {
        for (int64_t i = begin; i < end; ++i) out[i] = T(A(out[i]) + f(A(s[i]), A(g[i])));
      } else {
        for (int64_t i = begin; i < end; ++i) out[i] = T(f(A(s[i]), A(g[i])));
      }
    });
  });
}

}  // namespace

void relu_forward(const CpuExec& ex, ConstView x, View y) {
  const Observed observed(ex, moved({x, y}));
  if (ex.plan_only) return;
  map("relu", ex, x, y, [](auto v) { return v < 0 ? decltype(v)(0) : v; });  // keeps a NaN
}

void relu_backward(const CpuExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate) {
  const Observed observed(ex, moved({y, d_y, d_x, accumulate ? d_x : View()}));
  if (ex.plan_only) return;
  map_backward("relu", ex, y, d_y, d_x, accumulate,
               [](auto out, auto g) { return out > 0 ? g : decltype(g)(0); });
}

void tanh_forward(const CpuExec& ex, ConstView x, View y) {
  const Observed observed(ex, moved({x, y}));
  if (ex.plan_only) return;
  map("tanh", ex, x, y, [](auto v) { return std::tanh(v); });
}

void tanh_backward(const CpuExec& ex, ConstView y, ConstView d_y, View d_x, bool accumulate) {
  const Observed observed(ex, moved({y, d_y, d_x, accumulate ? d_x : View()}));
  if (ex.plan_only) return;
  map_backward("tanh", ex, y, d_y, d_x, accumulate,
               [](auto out, auto g) { return g * (1 - out * out); });
}

void softplus_forward(const CpuExec& ex, ConstView x, View y) {
  const Observed observed(ex, moved({x, y}));
  if (ex.plan_only) return;
  map("softplus", ex, x, y,
      [](auto v) { return std::max(v, decltype(v)(0)) + std::log1p(std::exp(-std::abs(v))); });
}

void softplus_backward(const CpuExec& ex, ConstView x, ConstView d_y, View d_x, bool accumulate) {
  const Observed observed(ex, moved({x, d_y, d_x, accumulate ? d_x : View()}));
  if (ex.plan_only) return;
  map_backward("softplus", ex, x, d_y, d_x, accumulate,
               [](auto in, auto g) { return g / (1 + std::exp(-in)); });
}

void scale(const CpuExec& ex, ConstView x, double factor, View y, bool accumulate) {
  const Observed observed(ex, moved({x, y, accumulate ? y : View()}));
  if (ex.plan_only) return;
  check(x.elems() == y.elems(), "scale: {} to {}", x.shape, y.shape);
  dispatch_float("scale", x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T* in = x.as<T>();
    T* out = y.as<T>();
    const A f = static_cast<A>(factor);
    ex.for_range(x.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      if (accumulate) {
        for (int64_t i = begin; i < end; ++i) out[i] = T(A(out[i]) + f * A(in[i]));
      } else {
        for (int64_t i = begin; i < end; ++i) out[i] = T(f * A(in[i]));
      }
    });
  });
}

void convert(const CpuExec& ex, ConstView x, View y) {
  const Observed observed(ex, moved({x, y}));
  if (ex.plan_only) return;
  check(x.elems() == y.elems(), "convert: {} to {}", x.shape, y.shape);
  const auto copy = [&]<class To>(const auto* in, To* out) {
    ex.for_range(x.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = To(in[i]);
    });
  };
  if (x.dtype == DType::kBF16) {
    copy(x.as<bf16>(), y.as<float>());
  } else {
    copy(x.as<float>(), y.as<bf16>());
  }
}

}  // namespace bigbigan
