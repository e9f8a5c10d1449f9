#include "kernels/conv/fold_weight_shapes.h"

#include <array>

#include "kernels/common/dispatch.h"
#include "kernels/common/widened.h"

namespace bigbigan {
namespace {

// Which taps of w a tap of v adds up: first tap and number of taps, along one axis.
struct Taps {
  int first, count;
};
constexpr std::array<Taps, 4> kUpsample = {{{2, 1}, {1, 2}, {0, 2}, {0, 1}}};
constexpr std::array<Taps, 4> kAverage = {{{0, 1}, {0, 2}, {1, 2}, {2, 1}}};

// Calls body(tap of v, tap of w) for all pairs in which v's tap contains w's; taps count row-major.
template <class Body>
void for_each_pair(const std::array<Taps, 4>& taps, const Body& body) {
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int r = taps[i].first; r < taps[i].first + taps[i].count; ++r) {
        for (int s = taps[j].first; s < taps[j].first + taps[j].count; ++s) {
          body(i * 4 + j, r * 3 + s);
        }
      }
    }
  }
}

}  // namespace

void fold_upsample_weight(const CpuExec& ex, ConstView w, View v) {
  if (v.dtype == DType::kBF16 && !ex.plan_only)
    return fold_upsample_weight(ex, w, WidenedResult(v, false));
  const Observed observed(ex, moved({w, v}));
  if (ex.plan_only) return;
  check_folded("fold_upsample_weight", w.shape, v.shape, true);
  const int64_t out = w.shape[0], in = w.shape[3];
  dispatch_real("fold_upsample_weight", w.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = w.as<T>();
    T* to = v.as<T>();
    ex.for_chunks(in, [&](int64_t c) {
      T* filter = to + c * 16 * out;
      std::fill(filter, filter + 16 * out, T(0));
      for_each_pair(kUpsample, [&](int tap_v, int tap_w) {
        for (int64_t k = 0; k < out; ++k) filter[tap_v * out + k] += from[(k * 9 + tap_w) * in + c];
      });
    });
  });
}

void fold_upsample_weight_backward(const CpuExec& ex, ConstView d_v, View d_w, bool accumulate) {
  const Observed observed(ex, moved({d_v, d_w, accumulate ? d_w : View()}));
  if (ex.plan_only) return;
  check_folded("fold_upsample_weight", d_w.shape, d_v.shape, true);
  const int64_t out = d_w.shape[0], in = d_w.shape[3];
  dispatch_real("fold_upsample_weight", d_w.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = d_v.as<T>();
    T* to = d_w.as<T>();
    ex.for_chunks(out, [&](int64_t k) {
      T* filter = to + k * 9 * in;
      if (!accumulate) std::fill(filter, filter + 9 * in, T(0));
      for_each_pair(kUpsample, [&](int tap_v, int tap_w) {
        for (int64_t c = 0; c < in; ++c) filter[tap_w * in + c] += from[(c * 16 + tap_v) * out + k];
      });
    });
  });
}

void fold_avg_pool_weight(const CpuExec& ex, ConstView w, View v) {
  if (v.dtype == DType::kBF16 && !ex.plan_only)
    return fold_avg_pool_weight(ex, w, WidenedResult(v, false));
  const Observed observed(ex, moved({w, v}));
  if (ex.plan_only) return;
  check_folded("fold_avg_pool_weight", w.shape, v.shape, false);
  const int64_t in = w.shape[3];
  dispatch_real("fold_avg_pool_weight", w.dtype, [&]<class T>(TypeTag<T>) {
    ex.for_chunks(w.shape[0], [&](int64_t k) {
      const T* from = w.as<T>() + k * 9 * in;
      T* to = v.as<T>() + k * 16 * in;
      std::fill(to, to + 16 * in, T(0));
      for_each_pair(kAverage, [&](int tap_v, int tap_w) {
        for (int64_t c = 0; c < in; ++c) to[tap_v * in + c] += T(0.25) * from[tap_w * in + c];
      });
    });
  });
}

void fold_avg_pool_weight_backward(const CpuExec& ex, ConstView d_v, View d_w, bool accumulate) {
  const Observed observed(ex, moved({d_v, d_w, accumulate ? d_w : View()}));
  if (ex.plan_only) return;
  check_folded("fold_avg_pool_weight", d_w.shape, d_v.shape, false);
  const int64_t in = d_w.shape[3];
  dispatch_real("fold_avg_pool_weight", d_w.dtype, [&]<class T>(TypeTag<T>) {
    ex.for_chunks(d_w.shape[0], [&](int64_t k) {
      const T* from = d_v.as<T>() + k * 16 * in;
      T* to = d_w.as<T>() + k * 9 * in;
      if (!accumulate) std::fill(to, to + 9 * in, T(0));
      for_each_pair(kAverage, [&](int tap_v, int tap_w) {
        for (int64_t c = 0; c < in; ++c) to[tap_w * in + c] += T(0.25) * from[tap_v * in + c];
      });
    });
  });
}

}  // namespace bigbigan
