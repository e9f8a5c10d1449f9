#include "kernels/norm/spectral_norm.h"

#include <cmath>

#include "kernels/common/dispatch.h"
#include "kernels/common/widened.h"
#include "kernels/norm/spectral_norm_layout.h"

namespace bigbigan {
namespace {

// Inner product with eight partial sums in f64, so that the loop vectorises without reordering
// freedom.
template <class T>
double dot(const T* a, const T* b, int64_t n) {
  constexpr int64_t kLanes = 8;
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) sums[k] += double(a[i + k]) * double(b[i + k]);
  }
  for (; i < n; ++i) sums[0] += double(a[i]) * double(b[i]);
  double total = 0;
  for (const double s : sums) total += s;
  return total;
}

// x /= max(|x|, eps); returns |x|.
template <class T>
double normalize(T* x, int64_t n, double eps) {
  const double norm = std::sqrt(dot(x, x, n));
  const double factor = 1 / std::max(norm, eps);
  for (int64_t i = 0; i < n; ++i) x[i] = static_cast<T>(double(x[i]) * factor);
  return norm;
}

template <class T>
void normalize_weight(const SpectralNormArgs& a, bool iterate, double eps) {
  const int64_t rows = a.u.elems(), columns = a.v.elems();
  const T* w = a.w.as<T>();
  T *u = a.u.as<T>(), *v = a.v.as<T>(), *y = a.y.as<T>();
  std::fill(v, v + columns, T(0));
  for (int64_t k = 0; k < rows; ++k) {
    for (int64_t r = 0; r < columns; ++r) v[r] += u[k] * w[k * columns + r];
  }
  double sigma = normalize(v, columns, eps);
  if (iterate) {
    for (int64_t k = 0; k < rows; ++k) u[k] = static_cast<T>(dot(v, w + k * columns, columns));
    // v W^T u'^T = |v W^T|^2 / max(|v W^T|, eps)
    const double norm = normalize(u, rows, eps);
    sigma = norm * norm / std::max(norm, eps);
  }
  *a.sigma.as<T>() = static_cast<T>(sigma);
  const T factor = static_cast<T>(1 / sigma);
  for (int64_t i = 0; i < rows * columns; ++i) y[i] = w[i] * factor;
}

template <class T>
void backward_weight(const SpectralNormBackwardArgs& a) {
  const int64_t rows = a.u.elems(), columns = a.v.elems();
  const T *g = a.d_y.as<T>(), *u = a.u.as<T>(), *v = a.v.as<T>();
  T* out = a.d_w.as<T>();
  const double inner = dot(g, a.y.as<T>(), rows * columns);
  const T factor = static_cast<T>(1 / double(*a.sigma.as<T>()));
  for (int64_t k = 0; k < rows; ++k) {
    const T along = static_cast<T>(inner * double(u[k]));
    for (int64_t r = 0; r < columns; ++r) {
      const int64_t i = k * columns + r;
      const T gradient = (g[i] - along * v[r]) * factor;
      out[i] = a.accumulate ? out[i] + gradient : gradient;
    }
  }
}

// w is read for each of the two products of an iteration.
LaunchWork forward_work(std::span<const SpectralNormArgs> weights) {
  LaunchWork work;
  for (const SpectralNormArgs& a : weights) work.bytes += moved({a.w, a.w, a.y}).bytes;
  return work;
}

// d_y is read for <d_y, y>, and again for d_w.
LaunchWork backward_work(std::span<const SpectralNormBackwardArgs> weights) {
  LaunchWork work;
  for (const SpectralNormBackwardArgs& a : weights) {
    work.bytes += moved({a.d_y, a.y, a.d_y, a.d_w, a.accumulate ? a.d_w : View()}).bytes;
  }
  return work;
}

}  // namespace

int64_t spectral_norm_scratch_elems(std::span<const SpectralNormArgs> weights) {
  int64_t elems = 0;
  for (const SpectralNormArgs& a : weights) {
    elems += SpectralNormLayout{a.u.elems(), a.v.elems()}.elems();
  }
  return elems;
}

int64_t spectral_norm_backward_scratch_elems(std::span<const SpectralNormBackwardArgs> weights) {
  int64_t elems = 0;
  for (const SpectralNormBackwardArgs& a : weights) {
    elems += SpectralNormLayout::parts(a.y.elems(), kSpectralDot);
  }
  return elems;
}

void spectral_norm_forward(const CpuExec& ex, std::span<const SpectralNormArgs> weights,
                           bool iterate, double eps, View /*scratch*/) {
  const Observed observed(ex, forward_work(weights));
  if (ex.plan_only) return;
  for (const SpectralNormArgs& a : weights) {
    check_shape("spectral_norm", "u", a.u.shape, {a.w.shape[0]});
    check(a.v.elems() * a.u.elems() == a.w.elems(), "spectral_norm: v is {} for w {}", a.v.shape,
          a.w.shape);
    check_shape("spectral_norm", "y", a.y.shape, a.w.shape);
  }
  ex.for_chunks(static_cast<int64_t>(weights.size()), [&](int64_t i) {
    SpectralNormArgs a = weights[i];
    const WidenedResult y(a.y, false);
    a.y = y;
    dispatch_real("spectral_norm", a.w.dtype,
                  [&]<class T>(TypeTag<T>) { normalize_weight<T>(a, iterate, eps); });
  });
}

void spectral_norm_backward(const CpuExec& ex, std::span<const SpectralNormBackwardArgs> weights,
                            View /*scratch*/) {
  const Observed observed(ex, backward_work(weights));
  if (ex.plan_only) return;
  ex.for_chunks(static_cast<int64_t>(weights.size()), [&](int64_t i) {
    SpectralNormBackwardArgs a = weights[i];
    const Widened y(a.y);
    a.y = y;
    dispatch_real("spectral_norm", a.d_y.dtype,
                  [&]<class T>(TypeTag<T>) { backward_weight<T>(a); });
  });
}

}  // namespace bigbigan
