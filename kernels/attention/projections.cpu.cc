#include <algorithm>
#include <cmath>

#include "kernels/attention/projections_shapes.h"
#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

constexpr int64_t kPixels = 1024;  // of a chunk of copies

}  // namespace

void join_weights(const CpuExec& ex, const std::array<ConstView, 3>& weights, View joint) {
  const Observed observed(ex, moved({weights[0], weights[1], weights[2], joint}));
  if (ex.plan_only) return;
  check_joined(weights, joint.shape);
  dispatch_float("join_weights", joint.dtype, [&]<class T>(TypeTag<T>) {
    T* to = joint.as<T>();
    for (const ConstView& weight : weights) {
      to = std::copy_n(weight.as<T>(), weight.elems(), to);
    }
  });
}

void join_weights_backward(const CpuExec& ex, const JoinWeightsBackwardArgs& a) {
  LaunchWork work;
  for (int i = 0; i < 3; ++i) {
    if (a.d_weights[i]) work.bytes += a.d_weights[i].bytes() * (a.accumulate[i] ? 3 : 2);
  }
  const Observed observed(ex, work);
  if (ex.plan_only) return;
  check_joined(a.d_weights, a.d_joint.shape);
  dispatch_real("join_weights", a.d_joint.dtype, [&]<class T>(TypeTag<T>) {
    const T* from = a.d_joint.as<T>();
    for (int i = 0; i < 3; ++i) {
      const View& d = a.d_weights[i];
      for (int64_t k = 0; d && k < d.elems(); ++k) {
        d.as<T>()[k] = (a.accumulate[i] ? d.as<T>()[k] : T(0)) + from[k];
      }
      from += d.elems();
    }
  });
}

void split_projections(const CpuExec& ex, ConstView joint, View query, View key, View value,
                       View argmax) {
  const Observed observed(ex, moved({joint, query, key, value, argmax}));
  if (ex.plan_only) return;
  const ProjectionSizes s =
      projection_sizes(joint.shape, query.shape, key.shape, value.shape, argmax.shape);
  const int64_t pooled = s.depth + s.width;
  dispatch_float("split_projections", joint.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    ex.for_range(s.n * s.h * s.w, kPixels, [&](int64_t begin, int64_t end) {
      for (int64_t pixel = begin; pixel < end; ++pixel) {
        std::copy_n(joint.as<T>() + pixel * s.channels, s.depth, query.as<T>() + pixel * s.depth);
      }
    });
    ex.for_chunks(s.n * s.p, [&](int64_t row) {
      const T* rows = joint.as<T>() + (row / s.p * s.h + row % s.p * 2) * s.w * s.channels;
      for (int64_t column = 0; column < s.q; ++column) {
        const int64_t window = row * s.q + column;
        for (int64_t c = 0; c < pooled; ++c) {
          A best = 0;
          uint8_t winner = 0;
          for (uint8_t tap = 0; tap < 4; ++tap) {
            const int64_t pixel = tap / 2 * s.w + 2 * column + tap % 2;
            const A x = A(rows[pixel * s.channels + s.depth + c]);
            if (tap == 0 || x > best || std::isnan(x)) {
              best = x;
              winner = tap;
            }
          }
          argmax.as<uint8_t>()[window * pooled + c] = winner;
          (c < s.depth ? key.as<T>()[window * s.depth + c]
                       : value.as<T>()[window * s.width + c - s.depth]) = T(best);
        }
      }
    });
  });
}

void split_projections_backward(const CpuExec& ex, const SplitProjectionsBackwardArgs& a) {
  const Observed observed(ex, moved({a.argmax, a.d_query, a.d_key, a.d_value, a.d_joint,
                                     a.accumulate ? a.d_joint : View()}));
  if (ex.plan_only) return;
  const ProjectionSizes s = projection_sizes(a.d_joint.shape, a.d_query.shape, a.d_key.shape,
                                             a.d_value.shape, a.argmax.shape);
  const int64_t pooled = s.depth + s.width;
  dispatch_float("split_projections", a.d_joint.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const auto put = [&](T& to, A gradient) { to = T(a.accumulate ? A(to) + gradient : gradient); };
    ex.for_chunks(s.n * s.h, [&](int64_t row) {
      const int64_t n = row / s.h, y = row % s.h;
      for (int64_t x = 0; x < s.w; ++x) {
        const int64_t pixel = row * s.w + x;
        T* out = a.d_joint.as<T>() + pixel * s.channels;
        for (int64_t c = 0; c < s.depth; ++c) {
          put(out[c], A(a.d_query.as<T>()[pixel * s.depth + c]));
        }
        const bool in_window = y / 2 < s.p && x / 2 < s.q;
        const int64_t window = (n * s.p + y / 2) * s.q + x / 2;
        for (int64_t c = 0; c < pooled; ++c) {
          const bool won =
              in_window && a.argmax.as<uint8_t>()[window * pooled + c] == y % 2 * 2 + x % 2;
          put(out[s.depth + c],
              !won ? A(0)
                   : A(c < s.depth ? a.d_key.as<T>()[window * s.depth + c]
                                   : a.d_value.as<T>()[window * s.width + c - s.depth]));
        }
      }
    });
  });
}

}  // namespace bigbigan
