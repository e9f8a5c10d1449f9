#include "kernels/norm/spectral_norm.h"

#include <cmath>

#include "kernels/common/dispatch.h"
#include "kernels/common/dot.h"
#include "kernels/common/widened.h"
#include "kernels/norm/spectral_norm_layout.h"

namespace bigbigan {
namespace {

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

// w is read for each of the two products of an iteration.
LaunchWork forward_work(std::span<const SpectralNormArgs> weights) {
  LaunchWork work;
  for (const SpectralNormArgs& a : weights) work.bytes += moved({a.w, a.w, a.y}).bytes;
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

void spectral_norm(const CpuExec& ex, std::span<const SpectralNormArgs> weights, bool iterate,
                   double eps, View /*scratch*/) {
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

}  // namespace bigbigan
