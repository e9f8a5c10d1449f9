#include "kernels/optim/gradient_sums.h"

#include <array>
#include <cmath>

#include "kernels/common/dispatch.h"
#include "kernels/common/dot.h"
#include "kernels/optim/gradient_sums_shapes.h"

namespace bigbigan {
namespace {

using Sums = std::array<double, kGradientSums>;

// Of the elements begin ... end-1, which belong to a weight that begins at `weight.begin`.
template <class T>
Sums sums_of(const T* value, const T* grad, int64_t begin, int64_t end,
             const NormalizedWeight& weight) {
  Sums sums{dot(grad + begin, grad + begin, end - begin),
            dot(grad + begin, value + begin, end - begin), 0};
  const int64_t columns = weight.v.elems();
  const T *u = weight.u.as<T>(), *v = weight.v.as<T>();
  for (int64_t i = begin; i < end;) {
    const int64_t row = (i - weight.begin) / columns, column = (i - weight.begin) % columns;
    const int64_t count = std::min(end - i, columns - column);
    sums[kAlongUV] += double(u[row]) * dot(grad + i, v + column, count);
    i += count;
  }
  return sums;
}

// A is read once, and w where it is normalised.
LaunchWork sums_work(ConstView grad, const std::vector<WeightSegment>& segments,
                     const NormalizedWeights& weights) {
  LaunchWork work = moved({grad});
  for (const WeightSegment& s : segments) {
    if (s.weight < weights.size()) {
      work.bytes += (s.end - s.begin) * static_cast<int64_t>(size_of(grad.dtype));
    }
  }
  return work;
}

}  // namespace

int64_t gradient_sums_scratch_elems(int64_t n, const NormalizedWeights& weights) {
  // Weights and what lies between them are segments, each with a last chunk that may be short.
  const int64_t segments = 2 * weights.size() + 1;
  return (n / kSegmentChunk + segments) * kGradientSums;
}

void gradient_sums(const CpuExec& ex, ConstView value, ConstView grad,
                   const NormalizedWeights& weights, View sums, bool accumulate, View scratch) {
  const std::vector<WeightSegment> segments = segments_of(grad.elems(), weights);
  const Observed observed(ex, sums_work(grad, segments, weights));
  if (ex.plan_only) return;
  check_gradient_sums(value, grad, weights, sums, scratch);
  struct Chunk {
    int64_t begin, end, weight;
  };
  std::vector<Chunk> chunks;
  for (const WeightSegment& s : segments) {
    for (int64_t i = s.begin; i < s.end; i += kSegmentChunk) {
      chunks.push_back({i, std::min(s.end, i + kSegmentChunk), s.weight});
    }
  }
  auto* partial = reinterpret_cast<Sums*>(scratch.as<double>());
  dispatch_real("gradient_sums", grad.dtype, [&]<class T>(TypeTag<T>) {
    const T *w = value.as<T>(), *g = grad.as<T>();
    ex.for_chunks(std::ssize(chunks), [&](int64_t i) {
      const auto [begin, end, weight] = chunks[i];
      partial[i] = weight < weights.size() ? sums_of(w, g, begin, end, weights.list[weight])
                                           : Sums{dot(g + begin, g + begin, end - begin), 0, 0};
    });
  });
  auto* rows = reinterpret_cast<Sums*>(sums.as<double>());
  if (!accumulate) std::fill(rows, rows + weights.size() + 1, Sums{});
  for (size_t i = 0; i < chunks.size(); ++i) {
    for (int k = 0; k < kGradientSums; ++k) rows[chunks[i].weight][k] += partial[i][k];
  }
}

void gradient_norm(const CpuExec& ex, const NormalizedWeights& weights, ConstView sums,
                   View squared_norm, View skip) {
  const Observed observed(ex, moved({sums, squared_norm}));
  if (ex.plan_only) return;
  check_gradient_norm(weights, sums);
  dispatch_real("gradient_norm", squared_norm.dtype, [&]<class T>(TypeTag<T>) {
    double total = 0;
    const double* row = sums.as<double>();
    for (int64_t i = 0; i < weights.size(); ++i, row += kGradientSums) {
      const double sigma = double(weights.sigmas.as<T>()[i]), along = row[kAlongWeight] / sigma;
      const double squares =
          (row[kSquares] - 2 * along * row[kAlongUV] + along * along) / (sigma * sigma);
      total += squares < 0 ? 0 : squares;  // by rounding; NaN stays
    }
    total += row[kSquares];
    *squared_norm.as<T>() = T(total);
    if (!std::isfinite(total)) *skip.as<int32_t>() = 1;
  });
}

}  // namespace bigbigan
