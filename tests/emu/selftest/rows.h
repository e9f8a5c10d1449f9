// Seeded bugs: programs that contain one mistake, or its correct twin, for run_selftest.py.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels/common/launch.cuh"
#include "tests/emu/device_array.h"

namespace selftest {

struct Row {
  const char* name;
  void (*run)(bool bug);
};

extern const std::vector<Row> kSharedMemoryRows, kCollectiveRows, kBlockRows, kAddressRows,
    kHostRows, kCaptureRows;

// Ends the program with a message unless every value is as expected.
template <class T>
void expect(const std::vector<T>& found, const std::vector<T>& expected) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (found[i] == expected[i]) continue;
    const auto value = static_cast<double>(found[i]);
    // What nobody has written is filled with ones: NaN as a float, -1 as an integer.
    const bool unwritten = std::isnan(value) || value == -1;
    std::fprintf(stderr, "%s: element %zu is %g, expected %g\n",
                 unwritten ? "unwritten value" : "wrong value", i, value,
                 static_cast<double>(expected[i]));
    std::exit(1);
  }
}

}  // namespace selftest
