#include "kernels/bench/kernel_case.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "tests/harness/values.h"

namespace bigbigan {
namespace {

// As in Note [Tolerances] of tests/harness/checks.cc; bf16 is the rounding of results and of
// factors of products, whose sums are f32.
double tolerance(const KernelCase& c, DType dtype) {
  const double sum =
      32 * std::numeric_limits<float>::epsilon() * std::sqrt(static_cast<double>(c.length));
  return dtype == DType::kBF16 ? sum + 4.0 / 256 : sum;
}

}  // namespace

Tensor KernelSetup::normal(const Shape& shape, double deviation, double mean) {
  return normal_tensor(ctx, shape, dtype, {++operands_, deviation, mean, rounded_to_});
}

Tensor KernelSetup::master(const Shape& shape) {
  return normal_tensor(ctx, shape, single(), {.seed = ++operands_, .rounded_to = rounded_to_});
}

std::string check_kernel(const KernelCase& c, const AnyExec& exec, Allocator& allocator,
                         DType dtype, double& worst_error) {
  HostAllocator host;
  KernelSetup expected_setup({.exec = CpuExec{}, .allocator = &host}, DType::kF64, dtype);
  KernelSetup found_setup({.exec = exec, .allocator = &allocator}, dtype, dtype);
  const PreparedKernel expected = c.prepare(expected_setup), found = c.prepare(found_setup);
  expected.launch();
  found.launch();
  worst_error = 0;
  for (size_t k = 0; k < expected.results.size(); ++k) {
    const std::vector<double> a = read(expected.results[k]), b = read(found.results[k]);
    double scale = 0, error = 0;
    for (const double v : a) scale = std::max(scale, std::abs(v));
    for (size_t i = 0; i < a.size(); ++i) {
      const double difference = std::abs(a[i] - b[i]);
      error = std::isnan(difference) ? difference : std::max(error, difference);
      if (std::isnan(difference)) break;
    }
    if (!(error <= tolerance(c, dtype) * scale)) {
      return fmt::format("{} [{}] result {}: off by {:.3g} of {:.3g}", c.name, name_of(dtype), k,
                         error, scale);
    }
    if (scale > 0) worst_error = std::max(worst_error, error / scale);
  }
  return {};
}

}  // namespace bigbigan
