#include "kernels/reduce/column_sum.h"

#include <array>

#include "kernels/common/dispatch.h"

namespace bigbigan {
namespace {

constexpr int64_t kTile = 256;  // channels summed at once, on the stack

int64_t rows_per_chunk(int64_t channels) {
  return std::max<int64_t>(16, kElementGrain / std::max<int64_t>(channels, 1));
}

int64_t rows_of(const Shape& x) { return x[-1] == 0 ? 0 : x.elems() / x[-1]; }

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

}  // namespace

int64_t column_sum_scratch_elems(const Shape& x) {
  const int64_t grain = rows_per_chunk(x[-1]);
  return (rows_of(x) + grain - 1) / grain * x[-1];
}

void column_sum(const CpuExec& ex, ConstView x, View y, bool accumulate, View scratch) {
  const Observed observed(ex);
  const int64_t channels = x.shape[-1], rows = rows_of(x.shape);
  check(y.elems() == channels, "column_sum: y is {}, expected ({})", y.shape, channels);
  check(scratch.elems() >= column_sum_scratch_elems(x.shape), "column_sum: scratch of {} elements",
        scratch.elems());
  auto* partial = scratch.as<double>();
  const int64_t grain = rows_per_chunk(channels);
  dispatch_float("column_sum", x.dtype, [&]<class T>(TypeTag<T>) {
    const T* in = x.as<T>();
    ex.for_range(rows, grain, [&](int64_t begin, int64_t end) {
      double* out = partial + begin / grain * channels;
      for (int64_t c = 0; c < channels; c += kTile) {
        sum_tile(in, channels, begin, end, c, std::min(kTile, channels - c), out);
      }
    });
  });
  dispatch_float("column_sum", y.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const int64_t chunks = (rows + grain - 1) / grain;
    T* out = y.as<T>();
    for (int64_t c = 0; c < channels; ++c) {
      double total = accumulate ? double(A(out[c])) : 0.0;
      for (int64_t k = 0; k < chunks; ++k) total += partial[k * channels + c];
      out[c] = T(A(total));
    }
  });
}

}  // namespace bigbigan
