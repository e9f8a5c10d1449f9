// Every op case on CUDA: through the engine's operations and its tape, against the CPU in f64.
#include <catch2/catch.hpp>

#include "engine/core/backend_cuda/cuda_device.h"
#include "tests/harness/builders.h"
#include "tests/harness/checks.h"

using namespace bigbigan;

namespace {

void check_family(const std::vector<OpCase>& cases) {
  const CudaDevice device;
  PoolAllocator pool(device.memory());
  const AnyExec exec = device.exec();
  REQUIRE(!cases.empty());
  for (const OpCase& c : cases) {
    std::string failure = check_backend(c, exec, pool);
    if (failure.empty()) failure = check_bf16(c, &exec, &pool);
    INFO(failure);
    CHECK(failure.empty());
  }
}

}  // namespace

TEST_CASE("CUDA op cases: elementwise") { check_family(elementwise_cases()); }
TEST_CASE("CUDA op cases: linear") { check_family(linear_cases()); }
TEST_CASE("CUDA op cases: conv") { check_family(conv_cases()); }
TEST_CASE("CUDA op cases: norm") {
  std::vector<OpCase> cases = norm_cases();
  // Hundreds of power iterations serve finite differences, which are the CPU's affair.
  std::erase_if(cases,
                [](const OpCase& c) { return c.name.starts_with("spectral_norm_converged"); });
  cases.push_back(spectral_case({{5, 3, 3, 4}, {7, 31}, {1, 17}}, PowerIterations::kOne));
  check_family(cases);
}
TEST_CASE("CUDA op cases: spatial") { check_family(spatial_cases()); }
TEST_CASE("CUDA op cases: attention") { check_family(attention_cases()); }
TEST_CASE("CUDA op cases: loss") { check_family(loss_cases()); }
