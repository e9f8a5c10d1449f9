// A test binary that needs a GPU ends with one line and kSkipped where there is none, so that ctest
// reports the test as skipped. With BIGBIGAN_REQUIRE_GPU=1 its tests run, and fail.
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <cuda_runtime_api.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

constexpr int kSkipped = 77;  // SKIP_RETURN_CODE of these tests

struct SkipWithoutGpu : Catch::TestEventListenerBase {
  using TestEventListenerBase::TestEventListenerBase;

  void testRunStarting(const Catch::TestRunInfo&) override {
    const char* required = std::getenv("BIGBIGAN_REQUIRE_GPU");
    if (required != nullptr && std::string_view(required) == "1") return;
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    // Other errors are those of a machine that has a GPU: the tests shall meet them.
    if (status != cudaErrorNoDevice && status != cudaErrorInsufficientDriver) return;
    std::printf("skipped, no GPU: %s\n", cudaGetErrorString(status));
    std::fflush(stdout);
    std::_Exit(kSkipped);
  }
};
CATCH_REGISTER_LISTENER(SkipWithoutGpu)

}  // namespace
