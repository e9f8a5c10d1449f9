#include <array>
#include <cmath>

#include "kernels/common/dispatch.h"
#include "kernels/norm/batch_norm_shapes.h"

namespace bigbigan {
namespace {

constexpr int64_t kTile = 256;

int64_t rows_per_chunk(int64_t channels) {
  return std::max<int64_t>(16, 2 * kElementGrain / std::max<int64_t>(channels, 1));
}

int64_t rows_of(const Shape& x) { return x[-1] == 0 ? 0 : x.elems() / x[-1]; }

// Column sums of f(x) for rows [begin, end), columns [c0, c0 + width), where f sees the column's
// shift. Few channels: several rows are read as one wide row.
template <class T, class F>
void fold_sum(const T* x, int64_t channels, int64_t begin, int64_t end, int64_t c0, int64_t width,
              const double* shift, double* out, const F& f) {
  using A = Accum<T>;
  std::array<A, kTile> sums{}, shifts;
  const int64_t fold = width == channels ? std::max<int64_t>(1, 64 / channels) : 1;
  for (int64_t i = 0; i < width * fold; ++i) shifts[i] = static_cast<A>(shift[i % width]);
  int64_t r = begin;
  for (; r + fold <= end; r += fold) {
    const T* row = x + r * channels + c0;
    for (int64_t i = 0; i < width * fold; ++i) sums[i] += f(A(row[i]), shifts[i]);
  }
  for (; r < end; ++r) {
    for (int64_t i = 0; i < width; ++i) sums[i] += f(A(x[r * channels + c0 + i]), shifts[i]);
  }
  for (int64_t i = 0; i < width; ++i) {
    out[i] = 0;
    for (int64_t k = 0; k < fold; ++k) out[i] += double(sums[k * width + i]);
  }
}

// Mean and centred sum of squares of a block of rows. The first row shifts the sum, so that a large
// mean costs no digits; the second pass runs over a block that lies in cache.
template <class T>
void block_moments(const T* x, int64_t channels, int64_t begin, int64_t end, double* mean,
                   double* m2) {
  const auto count = static_cast<double>(end - begin);
  for (int64_t c0 = 0; c0 < channels; c0 += kTile) {
    const int64_t width = std::min(kTile, channels - c0);
    std::array<double, kTile> first, sums;
    for (int64_t i = 0; i < width; ++i) first[i] = double(Accum<T>(x[begin * channels + c0 + i]));
    fold_sum(x, channels, begin, end, c0, width, first.data(), sums.data(),
             [](auto v, auto shift) { return v - shift; });
    for (int64_t i = 0; i < width; ++i) mean[c0 + i] = first[i] + sums[i] / count;
    fold_sum(x, channels, begin, end, c0, width, mean + c0, m2 + c0,
             [](auto v, auto shift) { return (v - shift) * (v - shift); });
  }
}

// Merges moments `from` into `to`, both [count, mean, m2].
void merge_into(double* to, const double* from, int64_t channels) {
  const double n = to[0] + from[0];
  if (from[0] == 0) return;
  for (int64_t c = 0; c < channels; ++c) {
    const double delta = from[1 + c] - to[1 + c];
    to[1 + c] += delta * from[0] / n;
    to[1 + channels + c] += from[1 + channels + c] + delta * delta * to[0] * from[0] / n;
  }
  to[0] = n;
}

void moments_of(const CpuExec& ex, ConstView x, View moments, View scratch) {
  const int64_t channels = x.shape[-1], rows = rows_of(x.shape), size = 1 + 2 * channels;
  check_shape("batch_moments", "moments", moments.shape, {size});
  check(scratch.elems() >= batch_moments_scratch_elems(x.shape),
        "batch_moments: scratch of {} elements", scratch.elems());
  auto *partial = scratch.as<double>(), *out = moments.as<double>();
  const int64_t grain = rows_per_chunk(channels);
  dispatch_float("batch_moments", x.dtype, [&]<class T>(TypeTag<T>) {
    const T* in = x.as<T>();
    ex.for_range(rows, grain, [&](int64_t begin, int64_t end) {
      double* block = partial + begin / grain * size;
      block[0] = static_cast<double>(end - begin);
      block_moments(in, channels, begin, end, block + 1, block + 1 + channels);
    });
  });
  std::fill(out, out + size, 0.0);
  for (int64_t k = 0; k < (rows + grain - 1) / grain; ++k)
    merge_into(out, partial + k * size, channels);
}

// Everything but the moments, from the moments.
void finish(const BatchStatistics& out) {
  const auto* m = out.moments.as<double>();
  auto* statistics = out.statistics.as<double>();
  const int64_t channels = out.statistics.shape[1];
  for (int64_t c = 0; c < channels; ++c) {
    statistics[c] = m[1 + c];
    statistics[channels + c] = m[0] > 0 ? 1 / std::sqrt(m[1 + channels + c] / m[0] + out.eps) : 0.0;
  }
  if (!out.running_mean || m[0] == 0) return;
  dispatch_real("batch_norm", out.running_mean.dtype, [&]<class T>(TypeTag<T>) {
    const auto fold = [&](T& running, double batch) {
      if (!std::isfinite(batch)) return;
      running = static_cast<T>(out.momentum * double(running) + (1 - out.momentum) * batch);
    };
    for (int64_t c = 0; c < channels; ++c) {
      fold(out.running_mean.as<T>()[c], m[1 + c] + (out.shift ? double(out.shift.as<T>()[c]) : 0));
      fold(out.running_var.as<T>()[c], m[1 + channels + c] / m[0]);
    }
  });
}

LaunchWork work_of(ConstView from, const BatchStatistics& out) {
  return moved({from, out.moments, out.statistics, out.running_mean, out.running_mean,
                out.running_var, out.running_var, out.shift});
}

}  // namespace

int64_t batch_moments_scratch_elems(const Shape& x) {
  const int64_t grain = rows_per_chunk(x[-1]);
  return (rows_of(x) + grain - 1) / grain * (1 + 2 * x[-1]);
}

void batch_moments(const CpuExec& ex, ConstView x, View moments, View scratch) {
  const Observed observed(ex, moved({x, moments}));
  if (ex.plan_only) return;
  moments_of(ex, x, moments, scratch);
}

void batch_statistics(const CpuExec& ex, ConstView x, const BatchStatistics& out, View scratch) {
  const Observed observed(ex, work_of(x, out));
  if (ex.plan_only) return;
  check_batch_statistics(out, x.shape[-1]);
  moments_of(ex, x, out.moments, scratch);
  finish(out);
}

void merged_statistics(const CpuExec& ex, ConstView gathered, const BatchStatistics& out) {
  const Observed observed(ex, work_of(gathered, out));
  if (ex.plan_only) return;
  const int64_t channels = channels_of_moments(gathered), size = 1 + 2 * channels;
  check_batch_statistics(out, channels);
  auto* moments = out.moments.as<double>();
  std::fill(moments, moments + size, 0.0);
  for (int64_t r = 0; r < gathered.shape[0]; ++r) {
    merge_into(moments, gathered.as<double>() + r * size, channels);
  }
  finish(out);
}

void statistics_of_stored(const CpuExec& ex, ConstView mean, ConstView variance, ConstView shift,
                          double eps, View statistics) {
  const Observed observed(ex, moved({mean, variance, shift, statistics}));
  if (ex.plan_only) return;
  const int64_t channels = statistics.shape[1];
  check_shape("batch_norm", "running mean", mean.shape, {channels});
  check_shape("batch_norm", "running variance", variance.shape, {channels});
  if (shift) check_shape("batch_norm", "shift", shift.shape, {channels});
  dispatch_real("batch_norm", mean.dtype, [&]<class T>(TypeTag<T>) {
    auto* out = statistics.as<double>();
    for (int64_t c = 0; c < channels; ++c) {
      out[c] = double(mean.as<T>()[c]) - (shift ? double(shift.as<T>()[c]) : 0.0);
      out[channels + c] = 1 / std::sqrt(double(variance.as<T>()[c]) + eps);
    }
  });
}

}  // namespace bigbigan
