// Inner products on the CPU.
#pragma once

#include <cstdint>

namespace bigbigan {

// Sum of a[i] b[i] with eight partial sums in f64, so that the loop vectorises without reordering
// freedom.
template <class T>
double dot(const T* a, const T* b, int64_t n) {
  constexpr int64_t kLanes = 8;
  double sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t k = 0; k < kLanes; ++k) sums[k] += double(a[i + k]) * double(b[i + k]);
  }
  for (; i < n; ++i) sums[0] += double(a[i]) * double(b[i]);
  double total = 0;
  for (const double s : sums) total += s;
  return total;
}

}  // namespace bigbigan
