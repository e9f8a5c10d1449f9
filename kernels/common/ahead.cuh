// Loops that read ahead. Where the compiler does not know how often a loop runs, it leaves a check
// between two rounds, also of one that it unrolls, and no load passes a check: a thread would wait
// for each of its loads in turn.
#pragma once

#include "kernels/common/pack.cuh"

namespace bigbigan {

// N floats by value.
template <int N>
struct Floats {
  float v[N];
};
template <int N, class T>
__device__ inline Floats<N> floats_at(const T* address) {
  Floats<N> floats;
  load(address, floats.v);
  return floats;
}

// use(read(i)) for i = begin, begin + step ... before end, in this order, with the loads of kAhead
// rounds under way at a time.
template <int kAhead, class Index, class Read, class Use>
__device__ inline void for_each_ahead(Index begin, Index end, Index step, const Read& read,
                                      const Use& use) {
  Index i = begin;
  for (; end - i > (kAhead - 1) * step; i += kAhead * step) {
    decltype(read(i)) rounds[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) rounds[k] = read(i + k * step);
#pragma unroll
    for (int k = 0; k < kAhead; ++k) use(rounds[k]);
  }
  for (; i < end; i += step) use(read(i));
}

}  // namespace bigbigan
