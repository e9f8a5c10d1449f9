// Weights under spectral norm, as the optimiser meets them in its flat vectors.
//
// Note [Gradients of normalised weights]: forward passes read y = w / sigma of a weight under
// spectral norm (kernels/norm/spectral_norm.h), and what their backward passes leave in the flat
// gradient is A = dL/dy. With u and v of the same pass as constants
//   dL/dw = (A - <A, y> u^T v) / sigma,  <A, y> = <A, w> / sigma
// One pass over gradients and weights forms the sums that it takes (gradient_sums.h), which give
// the norm of dL/dw as well; the optimiser forms dL/dw as it reads A (adam.h), and nobody stores
// it. Ranks sum A: sigma, u and v are the same on all of them, so that is as good as summing dL/dw.
// Source: Miyato et al. 2018, equation 12.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/common/view.h"

namespace bigbigan {

struct NormalizedWeight {
  int64_t begin = 0;  // of the weight in the flat vectors; outside of them where they are a part
  ConstView u, v;     // (K), (R): unit vectors; the weight has K R elements
};

struct NormalizedWeights {
  std::vector<NormalizedWeight> list;  // in the order of the vectors
  ConstView sigmas;                    // (list.size())

  [[nodiscard]] int64_t size() const { return std::ssize(list); }
};

// Sums of a gradient: a row for each normalised weight, and one for everything else.
enum GradientSum : uint8_t { kSquares, kAlongWeight, kAlongUV, kGradientSums };
inline Shape gradient_sums_shape(const NormalizedWeights& weights) {
  return {weights.size() + 1, kGradientSums};
}

// Neighbouring elements that belong to one normalised weight, or to none.
struct WeightSegment {
  int64_t begin = 0, end = 0;
  int64_t weight = 0;  // its number, or that of weights
};

// Elements of a segment that are worked on together, from its begin on: sums do not depend on the
// number of threads.
inline constexpr int64_t kSegmentChunk = 8192;

inline int64_t chunks_of(const WeightSegment& segment) {
  return (segment.end - segment.begin + kSegmentChunk - 1) / kSegmentChunk;
}

// The elements 0 ... n-1 as segments, those of normalised weights first, so that the chunks of one
// row of sums follow each other. Throws Error{kInternal} for weights that overlap.
inline std::vector<WeightSegment> segments_of(int64_t n, const NormalizedWeights& weights) {
  check(weights.size() == 0 || weights.sigmas.elems() == weights.size(),
        "normalised weights: {} weights, {} sigmas", weights.size(), weights.sigmas.elems());
  std::vector<WeightSegment> segments;
  int64_t done = 0;
  const auto add = [&](int64_t end, int64_t weight) {
    if (end > done) segments.push_back({std::exchange(done, end), end, weight});
  };
  for (int64_t i = 0; i < weights.size(); ++i) {
    const NormalizedWeight& w = weights.list[i];
    const int64_t end = w.begin + w.u.elems() * w.v.elems();
    check(i == 0 || w.begin >= weights.list[i - 1].begin, "normalised weights: {} begins at {}", i,
          w.begin);
    check(w.begin >= done || w.begin < 0, "normalised weights: {} begins at {}, within another", i,
          w.begin);
    add(std::min(n, w.begin), weights.size());
    add(std::min(n, end), i);
  }
  add(n, weights.size());
  std::stable_partition(segments.begin(), segments.end(),
                        [&](const WeightSegment& s) { return s.weight < weights.size(); });
  return segments;
}

}  // namespace bigbigan
