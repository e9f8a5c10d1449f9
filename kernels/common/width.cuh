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

}  // namespace bigbigan
