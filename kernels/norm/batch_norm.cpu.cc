#include "kernels/norm/batch_norm.h"

#include <array>

#include "kernels/common/dispatch.h"
#include "kernels/norm/batch_norm_shapes.h"

namespace bigbigan {
namespace {

constexpr int64_t kTile = 256;         // channels handled at once, on the stack
constexpr int64_t kRowsPerFlush = 64;  // rows summed in the accumulation type before going to f64

using Sizes = BatchNormSizes;

// Parameters of channels [c0, c0 + width) of one sample, repeated `fold` times so that `fold`
// pixels of a tensor with few channels form one wide row.
template <class A>
struct Tile {
  int64_t c0 = 0, width = 0, fold = 1;
  std::array<A, kTile> mean, rstd, gain, bias;
  [[nodiscard]] int64_t wide() const { return width * fold; }
};

template <class T, class A = Accum<T>>
A parameter(ConstView p, int64_t n, int64_t c, A absent) {
  if (!p) return absent;
  return A(p.as<T>()[p.shape.rank() == 2 ? n * p.shape[1] + c : c]);
}

template <class T, class A = Accum<T>>
void load(const BatchNormArgs& args, const Sizes& s, int64_t n, int64_t c0, Tile<A>& tile) {
  tile.c0 = c0;
  tile.width = std::min(kTile, s.c - c0);
  tile.fold = args.upsample || tile.width != s.c ? 1 : std::clamp<int64_t>(64 / s.c, 1, s.pixels());
  const auto* statistics = args.statistics.as<double>();
  for (int64_t i = 0; i < tile.width; ++i) {
    const int64_t c = c0 + i;
    tile.mean[i] = static_cast<A>(statistics[c]);
    tile.rstd[i] = static_cast<A>(statistics[s.c + c]);
    tile.gain[i] = parameter<T>(args.gain, n, c, A(1)) + static_cast<A>(args.gain_offset);
    tile.bias[i] = parameter<T>(args.bias, n, c, A(0));
  }
  for (auto* values : {&tile.mean, &tile.rstd, &tile.gain, &tile.bias}) {
    for (int64_t i = tile.width; i < tile.wide(); ++i) (*values)[i] = (*values)[i - tile.width];
  }
}

// Calls body(tile, n) for every sample and tile of channels, samples in parallel.
template <class T, class Body>
void for_tiles(const CpuExec& ex, const BatchNormArgs& args, const Body& body) {
  const Sizes s = batch_norm_sizes(args.x.shape);
  const int64_t grain =
      std::max<int64_t>(1, kElementGrain / std::max<int64_t>(1, s.pixels() * s.c));
  ex.for_range(s.n, grain, [&](int64_t begin, int64_t end) {
    Tile<Accum<T>> tile;
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t c0 = 0; c0 < s.c; c0 += kTile) {
        load<T>(args, s, n, c0, tile);
        body(tile, n);
      }
    }
  });
}

// Calls body(first pixel, elements) for the wide rows of a sample; the last may be shorter.
template <class A, class Body>
void for_rows(const Tile<A>& tile, int64_t pixels, const Body& body) {
  for (int64_t p = 0; p < pixels; p += tile.fold) {
    body(p, std::min(tile.fold, pixels - p) * tile.width);
  }
}

// d_y of one wide row: read in place, or summed over the 2x2 pixels that came from one.
template <class T, class A = Accum<T>>
const T* incoming(const BatchNormArgs& args, const Sizes& s, const Tile<A>& tile, const T* d_y,
                  int64_t n, int64_t pixel, std::array<T, kTile>& summed) {
  if (!args.upsample) return d_y + (n * s.pixels() + pixel) * s.c + tile.c0;
  const int64_t h = pixel / s.w, w = pixel % s.w;
  const T* upper = d_y + ((n * 2 * s.h + 2 * h) * 2 * s.w + 2 * w) * s.c + tile.c0;
  const T* lower = upper + 2 * s.w * s.c;
  for (int64_t i = 0; i < tile.width; ++i) {
    summed[i] = T((A(upper[i]) + A(upper[i + s.c])) + (A(lower[i]) + A(lower[i + s.c])));
  }
  return summed.data();
}

// out[i] (+)= rstd (g gain - offset - xhat slope) over one wide row, g masked by the ReLU. Apart,
// with restricted pointers: the compiler vectorises it.
template <bool kAccumulate, class T, class A>
void backward_row(const Tile<A>& tile, const A* __restrict offset, const A* __restrict slope,
                  const T* __restrict x, const T* __restrict g, T* __restrict out, int64_t elems,
                  bool relu) {
  const A* __restrict mean = tile.mean.data();
  const A* __restrict rstd = tile.rstd.data();
  const A* __restrict gain = tile.gain.data();
  const A* __restrict bias = tile.bias.data();
  for (int64_t i = 0; i < elems; ++i) {
    const A xhat = (A(x[i]) - mean[i]) * rstd[i];
    const A value = A(g[i]) * gain[i];
    const A masked = relu && !(xhat * gain[i] + bias[i] > 0) ? A(0) : value;
    const A gradient = rstd[i] * (masked - offset[i] - xhat * slope[i]);
    out[i] = T(kAccumulate ? A(out[i]) + gradient : gradient);
  }
}

// The sums of g and g xhat over one wide row, added to plain and scaled.
template <class T, class A>
void sums_row(const Tile<A>& tile, const T* __restrict x, const T* __restrict g,
              A* __restrict plain, A* __restrict scaled, int64_t elems, bool relu) {
  const A* __restrict mean = tile.mean.data();
  const A* __restrict rstd = tile.rstd.data();
  const A* __restrict gain = tile.gain.data();
  const A* __restrict bias = tile.bias.data();
  for (int64_t i = 0; i < elems; ++i) {
    const A xhat = (A(x[i]) - mean[i]) * rstd[i];
    const A value = A(g[i]);
    const A masked = relu && !(xhat * gain[i] + bias[i] > 0) ? A(0) : value;
    plain[i] += masked;
    scaled[i] += masked * xhat;
  }
}

// The part `which` of the sums: 1 for the gain, 0 for the bias.
void parameter_gradient(ConstView sums, int which, const BatchNormGradient& d) {
  if (!d.view) return;
  const int64_t n = sums.shape[0], c = sums.shape[2];
  const bool per_sample = d.view.shape.rank() == 2;
  dispatch_float("batch_norm", d.view.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const double* from = sums.as<double>() + which * c;
    T* out = d.view.as<T>();
    for (int64_t row = 0; row < (per_sample ? n : 1); ++row) {
      for (int64_t i = 0; i < c; ++i) {
        double total = d.accumulate ? double(A(out[row * c + i])) : 0.0;
        for (int64_t k = per_sample ? row : 0; k < (per_sample ? row + 1 : n); ++k) {
          total += from[k * 2 * c + i];
        }
        out[row * c + i] = T(A(total));
      }
    }
  });
}

}  // namespace

void batch_norm_apply(const CpuExec& ex, const BatchNormArgs& args, View y) {
  const Observed observed(ex, moved({args.x, args.gain, args.bias, y}));
  if (ex.plan_only) return;
  check_batch_norm(args, y.shape);
  const Sizes s = batch_norm_sizes(args.x.shape);
  dispatch_float("batch_norm", args.x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T* x = args.x.as<T>();
    T* out = y.as<T>();
    const A floor = args.relu ? A(0) : std::numeric_limits<A>::lowest();
    for_tiles<T>(ex, args, [&](const Tile<A>& tile, int64_t n) {
      std::array<A, kTile> slope;
      for (int64_t i = 0; i < tile.wide(); ++i) slope[i] = tile.rstd[i] * tile.gain[i];
      for_rows(tile, s.pixels(), [&](int64_t pixel, int64_t elems) {
        const T* from = x + (n * s.pixels() + pixel) * s.c + tile.c0;
        const int64_t h = pixel / s.w, w = pixel % s.w;
        T* to = args.upsample ? out + ((n * 2 * s.h + 2 * h) * 2 * s.w + 2 * w) * s.c + tile.c0
                              : out + (n * s.pixels() + pixel) * s.c + tile.c0;
        for (int64_t i = 0; i < elems; ++i) {
          const A v = (A(from[i]) - tile.mean[i]) * slope[i] + tile.bias[i];
          to[i] = T(v < floor ? floor : v);  // keeps a NaN
        }
        if (!args.upsample) return;
        T* below = to + 2 * s.w * s.c;
        std::copy(to, to + elems, to + s.c);
        std::copy(to, to + elems, below);
        std::copy(to, to + elems, below + s.c);
      });
    });
  });
}

void batch_norm_backward_sums(const CpuExec& ex, const BatchNormArgs& args, ConstView d_y,
                              View sums) {
  const Observed observed(ex, moved({args.x, args.gain, args.bias, d_y, sums}));
  if (ex.plan_only) return;
  check_batch_norm(args, d_y.shape);
  const Sizes s = batch_norm_sizes(args.x.shape);
  check_shape("batch_norm", "sums", sums.shape, {s.n, 2, s.c});
  dispatch_float("batch_norm", args.x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T *x = args.x.as<T>(), *d_out = d_y.as<T>();
    auto* out = sums.as<double>();
    for_tiles<T>(ex, args, [&](const Tile<A>& tile, int64_t n) {
      std::array<A, kTile> plain{}, scaled{};
      std::array<T, kTile> summed;
      double* total = out + n * 2 * s.c + tile.c0;
      std::fill(total, total + tile.width, 0.0);
      std::fill(total + s.c, total + s.c + tile.width, 0.0);
      int64_t rows = 0;
      const auto flush = [&] {
        for (int64_t i = 0; i < tile.wide(); ++i) {
          total[i % tile.width] += double(plain[i]);
          total[s.c + i % tile.width] += double(scaled[i]);
        }
        plain.fill(A(0));
        scaled.fill(A(0));
        rows = 0;
      };
      for_rows(tile, s.pixels(), [&](int64_t pixel, int64_t elems) {
        const T* from = x + (n * s.pixels() + pixel) * s.c + tile.c0;
        const T* g = incoming<T>(args, s, tile, d_out, n, pixel, summed);
        sums_row(tile, from, g, plain.data(), scaled.data(), elems, args.relu);
        if (++rows == kRowsPerFlush) flush();
      });
      flush();
    });
  });
}

void batch_norm_backward_totals(const CpuExec& ex, const BatchNormArgs& args, ConstView sums,
                                View totals, const BatchNormGradient& d_gain,
                                const BatchNormGradient& d_bias) {
  const Observed observed(
      ex, moved({args.gain, sums, totals, d_gain.view, d_gain.accumulate ? d_gain.view : View(),
                 d_bias.view, d_bias.accumulate ? d_bias.view : View()}));
  if (ex.plan_only) return;
  check_batch_norm_totals(args, sums, totals, d_gain, d_bias);
  const int64_t n = sums.shape[0], c = sums.shape[2];
  auto* out = totals.as<double>();
  std::fill(out, out + 2 * c, 0.0);
  dispatch_float("batch_norm", args.x.dtype, [&]<class T>(TypeTag<T>) {
    for (int64_t k = 0; k < n; ++k) {
      const double* from = sums.as<double>() + k * 2 * c;
      for (int64_t i = 0; i < c; ++i) {
        const double gain = double(parameter<T>(args.gain, k, i, Accum<T>(1))) + args.gain_offset;
        out[i] += gain * from[i];
        out[c + i] += gain * from[c + i];
      }
    }
  });
  parameter_gradient(sums, 1, d_gain);
  parameter_gradient(sums, 0, d_bias);
}

void batch_norm_backward_x(const CpuExec& ex, const BatchNormArgs& args, ConstView d_y,
                           ConstView totals, ConstView moments, View d_x, bool accumulate) {
  const Observed observed(
      ex, moved({args.x, args.gain, args.bias, d_y, d_x, accumulate ? d_x : View()}));
  if (ex.plan_only) return;
  check_batch_norm(args, d_y.shape);
  check_shape("batch_norm", "d_x", d_x.shape, args.x.shape);
  const Sizes s = batch_norm_sizes(args.x.shape);
  const double count = moments ? *moments.as<double>() : 0.0;
  const double scale = count > 0 ? 1 / count : 0.0;
  dispatch_float("batch_norm", args.x.dtype, [&]<class T>(TypeTag<T>) {
    using A = Accum<T>;
    const T *x = args.x.as<T>(), *d_out = d_y.as<T>();
    const auto* total = totals.as<double>();
    T* out = d_x.as<T>();
    for_tiles<T>(ex, args, [&](const Tile<A>& tile, int64_t n) {
      std::array<A, kTile> offset, slope;
      std::array<T, kTile> summed;
      for (int64_t i = 0; i < tile.wide(); ++i) {
        const int64_t c = tile.c0 + i % tile.width;
        offset[i] = static_cast<A>(total[c] * scale);
        slope[i] = static_cast<A>(total[s.c + c] * scale);
      }
      for_rows(tile, s.pixels(), [&](int64_t pixel, int64_t elems) {
        const int64_t at = (n * s.pixels() + pixel) * s.c + tile.c0;
        const T* g = incoming<T>(args, s, tile, d_out, n, pixel, summed);
        const auto row = accumulate ? backward_row<true, T, A> : backward_row<false, T, A>;
        row(tile, offset.data(), slope.data(), x + at, g, out + at, elems, args.relu);
      });
    });
  });
}

}  // namespace bigbigan
