// bigbigan-train under mpirun on emulated devices: how ranks find their GPUs. They do not train:
// the stand-in for NCCL joins threads, not processes.
#include <catch2/catch.hpp>

#include "tests/e2e/tiny_training.h"

using namespace bigbigan;

namespace {

ProcessResult train(const TinyTraining& tiny, int ranks, const std::string& device,
                    std::vector<std::string> environment = {}) {
  std::vector<std::string> words = mpirun();
  const std::vector<std::string> rest = tiny.arguments("run", {"--device", device});
  words.insert(words.end(), {"-np", std::to_string(ranks)});
  words.insert(words.end(), rest.begin(), rest.end());
  environment.emplace_back("ASAN_OPTIONS=detect_leaks=0");  // the MPI library's own
  return run_process(words, environment);
}

void require_end(const ProcessResult& result, int code, const std::string& text) {
  INFO(result.err);
  CHECK(result.code == code);
  CHECK_THAT(result.err, Catch::Contains(text));
}

}  // namespace

TEST_CASE("GPU ranks under mpirun: more ranks than GPUs, and one GPU for all, are refused") {
  const TinyTraining tiny;
  require_end(train(tiny, 3, "cuda", {"EMU_DEVICES=2"}), 78, "3 ranks on ");
  require_end(train(tiny, 2, "auto", {"EMU_DEVICES=1"}), 78, "which has 1 GPU: ");
  require_end(train(tiny, 2, "cuda:0"), 78, "--device cuda:0: 2 ranks on ");
  CHECK(!std::filesystem::exists(tiny / "run"));
}

TEST_CASE("GPU ranks under mpirun: each opens its GPU and joins NCCL") {
  const TinyTraining tiny;
  require_end(train(tiny, 2, "cuda"), 71,
              "NCCL: set-up: invalid argument (a unique id of another process");
}
