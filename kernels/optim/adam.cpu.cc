#include "kernels/optim/adam.h"

#include <cmath>

#include "kernels/common/dispatch.h"
#include "kernels/optim/adam_shapes.h"

namespace bigbigan {
namespace {

bool skipped(ConstView skip) { return *skip.as<int32_t>() != 0; }

template <class T>
struct Average {
  T keep, take;

  explicit Average(double decay) : keep(T(decay)), take(T(1 - decay)) {}
  void update(T* average, const T* value, int64_t begin, int64_t end) const {
    for (int64_t i = begin; i < end; ++i) average[i] = keep * average[i] + take * value[i];
  }
};

// The gradients of the elements begin ... end-1 of `segment`: `grad` from there on, or in `formed`
// those of a normalised weight.
template <class T>
const T* gradients_of(const UpdateArgs& a, const WeightSegment& segment, int64_t begin, int64_t end,
                      T* formed) {
  const T* grad = a.grad.as<T>();
  if (segment.weight == a.normalized.size()) return grad + begin;
  const NormalizedWeight& weight = a.normalized.list[segment.weight];
  const auto sigma = double(a.normalized.sigmas.as<T>()[segment.weight]);
  const double inner = a.sums.as<double>()[segment.weight * kGradientSums + kAlongWeight] / sigma;
  const T factor = T(1 / sigma);
  const int64_t columns = weight.v.elems();
  const T *u = weight.u.as<T>(), *v = weight.v.as<T>();
  for (int64_t i = begin; i < end;) {
    const int64_t row = (i - weight.begin) / columns, column = (i - weight.begin) % columns;
    const int64_t count = std::min(end - i, columns - column);
    const T along = inner * u[row];
    for (int64_t k = 0; k < count; ++k) {
      formed[i - begin + k] = (grad[i + k] - along * v[column + k]) * factor;
    }
    i += count;
  }
  return formed;
}

}  // namespace

void optimizer_update(const CpuExec& ex, const UpdateArgs& a) {
  const Observed observed(
      ex, moved({a.value, a.value, a.grad, a.m, a.m, a.v, a.v, a.average, a.average, a.packed}));
  if (ex.plan_only) return;
  check_update(a);
  if (skipped(a.skip)) return;
  const auto t = static_cast<double>(*a.t.as<int64_t>());
  dispatch_real("optimizer_update", a.value.dtype, [&]<class T>(TypeTag<T>) {
    const T beta1 = T(a.beta1), beta2 = T(a.beta2), eps = T(a.eps);
    const T keep1 = T(1 - a.beta1), keep2 = T(1 - a.beta2);
    const T rate = T(a.lr / (1 - std::pow(a.beta1, t)));
    const T correction = T(1 / (1 - std::pow(a.beta2, t)));
    const Average<T> rule(a.decay);
    T *w = a.value.as<T>(), *m = a.m.as<T>(), *v = a.v.as<T>();
    T* average = a.average ? a.average.as<T>() : nullptr;
    bf16* packed = a.packed ? a.packed.as<bf16>() : nullptr;
    for (const WeightSegment& segment : segments_of(a.value.elems(), a.normalized)) {
      ex.for_range(segment.end - segment.begin, kSegmentChunk, [&](int64_t first, int64_t last) {
        const int64_t begin = segment.begin + first, end = segment.begin + last;
        T formed[kSegmentChunk];
        const T* g = gradients_of(a, segment, begin, end, formed);
        for (int64_t i = begin; i < end; ++i) {
          const T gradient = g[i - begin];
          m[i] = beta1 * m[i] + keep1 * gradient;
          v[i] = beta2 * v[i] + keep2 * (gradient * gradient);
          w[i] -= rate * m[i] / (std::sqrt(v[i] * correction) + eps);
        }
        if (average != nullptr) rule.update(average, w, begin, end);
        if (packed == nullptr) return;
        for (int64_t i = begin; i < end; ++i) packed[i] = bf16(static_cast<float>(w[i]));
      });
    }
  });
}

void increment(const CpuExec& ex, View t) {
  const Observed observed(ex, moved({t, t}));
  if (ex.plan_only) return;
  ++*t.as<int64_t>();
}

void ema_update(const CpuExec& ex, View average, ConstView value, double decay, ConstView skip) {
  const Observed observed(ex, moved({average, average, value}));
  if (ex.plan_only) return;
  check_ema(average, value);
  if (skipped(skip)) return;
  dispatch_real("ema_update", value.dtype, [&]<class T>(TypeTag<T>) {
    const Average<T> rule(decay);
    T* out = average.as<T>();
    const T* in = value.as<T>();
    ex.for_range(value.elems(), kElementGrain,
                 [&](int64_t begin, int64_t end) { rule.update(out, in, begin, end); });
  });
}

}  // namespace bigbigan
