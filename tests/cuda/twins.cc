#include "tests/cuda/twins.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/harness/op_case.h"

namespace bigbigan {

Twin Twins::normal(const Shape& shape, DType dtype, double scale, double offset) {
  std::vector<double> values(shape.elems());
  for (double& v : values) v = offset + scale * standard_normal(random_);
  return of(shape, dtype, values);
}

Twin Twins::of(const Shape& shape, DType dtype, std::span<const double> values) {
  return {tensor_of(cpu_, shape, dtype, values), tensor_of(cuda_, shape, dtype, values)};
}

Twin Twins::fresh(const Shape& shape, DType dtype) {
  return {Tensor::empty(cpu_, shape, dtype), Tensor::empty(cuda_, shape, dtype)};
}

void Twins::require_within(const Twin& t, double limit) const {
  const std::vector<double> found = read(t.cuda), expected = read(t.cpu);
  for (size_t i = 0; i < expected.size(); ++i) {
    if (std::abs(found[i] - expected[i]) <= limit) continue;
    FAIL("element " << i << " of " << expected.size() << ": CUDA " << found[i] << ", CPU "
                    << expected[i] << ", limit " << limit);
  }
}

void Twins::require_close(const Twin& t, double relative) const {
  require_within(t, relative * largest(t));
}

double Twins::largest(const Twin& t) const {
  double most = 0;
  for (const double v : read(t.cpu)) most = std::max(most, std::abs(v));
  return most;
}

void Twins::require_equal(const Twin& t) const {
  std::vector<std::byte> found(t.cuda.view().bytes()), expected(found.size());
  t.cuda.read(found.data());
  t.cpu.read(expected.data());
  REQUIRE(found == expected);
}

double sum_tolerance(DType dtype, int64_t length) {
  const double eps = dtype == DType::kBF16 ? 0x1p-8 : 0x1p-23;
  return 8 * eps * (dtype == DType::kBF16 ? 1 : std::sqrt(static_cast<double>(length)));
}

}  // namespace bigbigan
