// k-nearest-neighbour search of features on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>

#include "engine/core/device.h"
#include "eval/knn.h"

using namespace bigbigan;

namespace {

// Rows of small integers: some are equal.
Matrix coarse_matrix(int64_t rows, int64_t columns, double step) {
  Matrix x(rows, columns);
  for (size_t i = 0; i < x.values.size(); ++i)
    x.values[i] =
        static_cast<float>(std::round(2 * std::sin(step * static_cast<double>(i * i % 10007))));
  return x;
}

std::vector<int32_t> search(const char* name, Metric metric, int64_t k) {
  Device device(name, 1);
  const Context ctx{.exec = device.exec(), .allocator = &device.allocator()};
  return nearest(device.cpu(), ctx, coarse_matrix(8200, 5, 0.7), coarse_matrix(7, 5, 0.3), metric,
                 k);
}

}  // namespace

// l1 sums in the same order on both. The two products may differ in the last bit, and with it the
// order of what is equally far.
TEST_CASE("CUDA search: the neighbours of the CPU") {
  REQUIRE(search("cuda", Metric::kL1, 50) == search("cpu", Metric::kL1, 50));
  const Metric metric = GENERATE(Metric::kL2, Metric::kCosine);
  REQUIRE(search("cuda", metric, 1) == search("cpu", metric, 1));
}
