// What bigbigan-train says on a machine without a GPU. With one there is nothing to see.
#include <cuda_runtime_api.h>

#include <catch2/catch.hpp>

#include "tests/e2e/tiny_training.h"

using namespace bigbigan;

namespace {

bool has_gpu() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

int64_t lines(const std::string& text, const std::string& with) {
  int64_t count = 0;
  for (size_t at = 0; (at = text.find(with, at)) != std::string::npos; ++at) ++count;
  return count;
}

}  // namespace

TEST_CASE("without a GPU: --device cuda ends with exit code 71 and one line") {
  if (has_gpu()) return;
  const TinyTraining tiny;
  const ProcessResult result = tiny.train("run", {"--device", "cuda"});
  INFO(result.err);
  CHECK(result.code == 71);
  CHECK(lines(result.err, "\n") == 1);
  CHECK_THAT(result.err, Catch::Contains("no CUDA device"));
}

TEST_CASE("without a GPU: --device auto says so in one line and trains on the CPU") {
  if (has_gpu()) return;
  const TinyTraining tiny;
  const ProcessResult result = tiny.train("run", {"--device", "auto"});
  INFO(result.err);
  CHECK(result.code == 0);
  CHECK(lines(result.err, "running on the CPU: no CUDA device") == 1);
  CHECK(!tiny.steps("run").empty());
}
