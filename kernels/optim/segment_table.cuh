// The segments of flat vectors as a kernel's argument. Note [Tables].
#pragma once

#include <limits>

#include "kernels/common/pack.cuh"
#include "kernels/common/table.cuh"
#include "kernels/optim/normalized_weights.h"

namespace bigbigan {

// Elements of the vectors, and what is theirs of a normalised weight.
struct Segment {
  int64_t begin, end;
  int64_t weight;      // where the weight begins
  const float *u, *v;  // null: not normalised
  int columns;
  int row;       // of the sums
  int first[1];  // chunk
  bool aligned;  // begin, in vectors that are
  bool packed;   // whole packs lie in one row, beside aligned ones of v
};
using SegmentTable = Table<Segment, 384>;  // 21 KiB of the 32 KiB for arguments

inline constexpr int kSegmentPack = kPackElems<float>;  // half a pack of bf16

// body(k, u, v) with the factors of u^T v for element i + k, k < N.
template <int N, class Body>
__device__ inline void for_each_uv(const Segment& s, int64_t i, const Body& body) {
  const int at = static_cast<int>(i - s.weight);
  int row = at / s.columns, column = at - row * s.columns;
  const auto in_one_row = [&] {
    float v[N];
    load(s.v + column, v);
    const float u = s.u[row];
#pragma unroll
    for (int k = 0; k < N; ++k) body(k, u, v[k]);
  };
  if constexpr (N == 1) {
    in_one_row();
  } else if (s.packed) {
    in_one_row();
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      body(k, s.u[row], s.v[column]);
      if (++column == s.columns) {
        column = 0;
        ++row;
      }
    }
  }
}

// The block's elements of chunk `chunk` of the segment: body(width, i) for packs and single ones.
template <class Body>
__device__ inline void for_each_pack(const Segment& s, int chunk, bool aligned, const Body& body) {
  const int64_t begin = s.begin + chunk * kSegmentChunk;
  const int64_t end = begin + kSegmentChunk < s.end ? begin + kSegmentChunk : s.end;
  const int64_t packs_end = (aligned && s.aligned ? end : begin) / kSegmentPack;
  const int64_t rest = aligned && s.aligned ? packs_end * kSegmentPack : begin;
  // By the product the compiler sees that packs are aligned, and does not take them apart.
  for (int64_t i = begin / kSegmentPack + threadIdx.x; i < packs_end; i += blockDim.x) {
    body(Width<kSegmentPack>{}, i * kSegmentPack);
  }
  for (int64_t i = rest + threadIdx.x; i < end; i += blockDim.x) body(Width<1>{}, i);
}

// launch(table, chunks, chunks before it) for all segments of n elements, in tables that fit.
template <class Launch>
void for_each_table(int64_t n, const NormalizedWeights& weights, const Launch& launch) {
  const std::vector<WeightSegment> segments = segments_of(n, weights);
  int64_t before = 0;
  for (size_t i = 0; i < segments.size();) {
    SegmentTable table{};
    int64_t chunks = 0;
    for (; i < segments.size() && table.count < SegmentTable::kMax; ++i) {
      const WeightSegment& of = segments[i];
      Segment& s = table.entries[table.count++];
      s = {.begin = of.begin,
           .end = of.end,
           .row = static_cast<int>(of.weight),
           .first = {static_cast<int>(chunks)},
           .aligned = of.begin % kSegmentPack == 0};
      chunks += chunks_of(of);
      check(before + chunks <= std::numeric_limits<int>::max(), "optimiser: {} elements", n);
      if (of.weight == weights.size()) continue;
      const NormalizedWeight& w = weights.list[of.weight];
      check(w.u.elems() * w.v.elems() <= std::numeric_limits<int>::max(),
            "optimiser: a weight of {} elements", w.u.elems() * w.v.elems());
      s.weight = w.begin;
      s.u = w.u.as<float>();
      s.v = w.v.as<float>();
      s.columns = static_cast<int>(w.v.elems());
      s.packed = s.columns % kSegmentPack == 0 && (of.begin - w.begin) % kSegmentPack == 0 &&
                 all_aligned(s.v);
    }
    launch(table, chunks, before);
    before += chunks;
  }
}

}  // namespace bigbigan
