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
    const T* g = a.grad.as<T>();
    ex.for_range(a.value.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        m[i] = beta1 * m[i] + keep1 * g[i];
        v[i] = beta2 * v[i] + keep2 * (g[i] * g[i]);
        w[i] -= rate * m[i] / (std::sqrt(v[i] * correction) + eps);
      }
      if (average != nullptr) rule.update(average, w, begin, end);
      if (packed == nullptr) return;
      for (int64_t i = begin; i < end; ++i) packed[i] = bf16(static_cast<float>(w[i]));
    });
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

int64_t sum_of_squares_scratch_elems(int64_t elems) {
  return (elems + kElementGrain - 1) / kElementGrain;
}

void sum_of_squares(const CpuExec& ex, ConstView x, View sum, View skip, View scratch) {
  const Observed observed(ex, moved({x, sum}));
  if (ex.plan_only) return;
  check(scratch.elems() >= sum_of_squares_scratch_elems(x.elems()), "sum_of_squares: scratch of {}",
        scratch.elems());
  auto* partial = scratch.as<double>();
  dispatch_real("sum_of_squares", x.dtype, [&]<class T>(TypeTag<T>) {
    const T* in = x.as<T>();
    ex.for_range(x.elems(), kElementGrain, [&](int64_t begin, int64_t end) {
      constexpr int64_t kLanes = 8;  // independent sums, so that the loop vectorises
      double sums[kLanes] = {};
      for (int64_t i = begin; i < end; ++i)
        sums[(i - begin) % kLanes] += double(in[i]) * double(in[i]);
      double total = 0;
      for (const double s : sums) total += s;
      partial[begin / kElementGrain] = total;
    });
    double total = 0;
    for (int64_t i = 0; i < sum_of_squares_scratch_elems(x.elems()); ++i) total += partial[i];
    *sum.as<T>() = T(total);
    if (!std::isfinite(total)) *skip.as<int32_t>() = 1;
  });
}

}  // namespace bigbigan
