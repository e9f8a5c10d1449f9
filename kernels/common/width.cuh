// The choice between 16-byte accesses and single elements, for kernels whose innermost axis is cut
// among threads.
#pragma once

#include "kernels/common/pack.cuh"

namespace bigbigan {

// body(Width<N>{}): N = the pack of T where rows of `innermost` elements are whole packs and the
// tensors are aligned, otherwise 1. Every row is then a multiple of N elements at an address that
// load() and store() of N take.
template <class T, class Body>
void dispatch_width(int64_t innermost, bool aligned, const Body& body) {
  if (aligned && innermost % kPackElems<T> == 0) {
    body(Width<kPackElems<T>>{});
  } else {
    body(Width<1>{});
  }
}

// The same, and N = half a pack of bf16 in between: rows of 12 channels are three of them.
template <class T, class Body>
void dispatch_half_width(int64_t innermost, bool aligned, const Body& body) {
  if constexpr (std::is_same_v<T, bf16>) {
    const bool is_packs = innermost % kPackElems<T> == 0;
    if (aligned && !is_packs && innermost % kHalfPack<T> == 0) return body(Width<kHalfPack<T>>{});
  }
  dispatch_width<T>(innermost, aligned, body);
}

}  // namespace bigbigan
