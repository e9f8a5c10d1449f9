#include "kernels/reduce/column_sum_shapes.h"

#include <array>

#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

constexpr int64_t kTile = 256;  // channels summed at once, on the stack

int64_t rows_per_chunk(int64_t channels) {
  return std::max<int64_t>(16, kElementGrain / std::max<int64_t>(channels, 1));
}

// Sums rows [begin, end) of columns [c0, c0 + width). Few columns leave vector lanes idle, so
// several rows are taken as one wide row and folded at the end.
template <class T>
void sum_tile(const T* x, int64_t channels, int64_t begin, int64_t end, int64_t c0, int64_t width,
              double* out) {
  std::array<Accum<T>, kTile> sums{};
  const int64_t fold = width == channels ? std::max<int64_t>(1, 64 / channels) : 1;
  const int64_t wide = width * fold;
  int64_t r = begin;
  for (; r + fold <= end; r += fold) {
    const T* row = x + r * channels + c0;
    for (int64_t i = 0; i < wide; ++i) sums[i] += Accum<T>(row[i]);
  }
  for (; r < end; ++r) {
    for (int64_t i = 0; i < width; ++i) sums[i] += Accum<T>(x[r * channels + c0 + i]);
  }
  for (int64_t i = 0; i < width; ++i) {
    double total = 0;
    for (int64_t f = 0; f < fold; ++f) total += double(sums[f * width + i]);
    out[c0 + i] = total;
  }
}

// partial (chunks, channels) := sums of the rows of `x`, where prepare(begin, end) has run for the
// elements of a chunk.
template <class T, class Prepare>
void sum_chunks(const CpuExec& ex, const T* x, int64_t rows, int64_t channels, double* partial,
                const Prepare& prepare) {
  const int64_t grain = rows_per_chunk(channels);
  ex.for_range(rows, grain, [&](int64_t begin, int64_t end) {
    prepare(begin * channels, end * channels);
    double* out = partial + begin / grain * channels;
    for (int64_t c = 0; c < channels; c += kTile) {
      sum_tile(x, channels, begin, end, c, std::min(kTile, channels - c), out);
    }
  });
}

// to.y (C) (+)= the sums of the chunks, in order.
void add_chunks(const double* partial, int64_t rows, const ColumnSums& to) {
  const int64_t channels = to.y.elems(), grain = rows_per_chunk(channels);
  dispatch_float("column_sum", to.y.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const int64_t chunks = (rows + grain - 1) / grain;
    T* out = to.y.as<T>();
    for (int64_t c = 0; c < channels; ++c) {
      double total = to.accumulate ? double(A(out[c])) : 0.0;
      for (int64_t k = 0; k < chunks; ++k) total += partial[k * channels + c];
      out[c] = T(A(total));
    }
  });
}

}  // namespace

int64_t column_sum_scratch_elems(const Shape& x) {
  const int64_t grain = rows_per_chunk(x[-1]);
  return (rows_of(x) + grain - 1) / grain * x[-1];
}

void column_sum(const CpuExec& ex, ConstView x, const ColumnSums& to, const ColumnSums& also,
                View scratch) {
  const Observed observed(ex, moved({x, to.y, also.y}));
  if (ex.plan_only) return;
  check_column_sum(x.shape, to, also, scratch);
  const int64_t channels = x.shape[-1], rows = rows_of(x.shape);
  auto* partial = scratch.as<double>();
  dispatch_float("column_sum", x.dtype, [&]<class T>(TypeTag<T>) {
    sum_chunks(ex, x.as<T>(), rows, channels, partial, [](int64_t, int64_t) {});
  });
  add_chunks(partial, rows, to);
  if (also.y) add_chunks(partial, rows, also);
}

void relu_backward_sums(const CpuExec& ex, ConstView y, ConstView d_y, View d, View sums,
                        bool accumulate, View scratch) {
  const Observed observed(ex, moved({y, d_y, d, sums}));
  if (ex.plan_only) return;
  check_relu_sums(y, d_y, d);
  check_column_sum(y.shape, {sums}, {}, scratch);
  const int64_t channels = y.shape[-1], rows = rows_of(y.shape);
  auto* partial = scratch.as<double>();
  dispatch_float("relu_backward_sums", y.dtype, [&]<class T>(TypeTag<T>) {
    const T *at = y.as<T>(), *g = d_y.as<T>();
    T* out = d.as<T>();
    sum_chunks(ex, out, rows, channels, partial, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T value = g[i];  // read in any case, so that the loop has no branch
        out[i] = Accum<T>(at[i]) > 0 ? value : T(Accum<T>(0));
      }
    });
  });
  add_chunks(partial, rows, {sums, accumulate});
}

}  // namespace bigbigan
