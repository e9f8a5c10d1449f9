// Op cases as Google Benchmarks, forward and backward, f32 on the CPU.
#pragma once

#include <benchmark/benchmark.h>

#include <map>
#include <string>
#include <vector>

#include "kernels/bench/ceilings.h"
#include "tests/harness/op_case.h"

namespace bigbigan {

// Names are "<op>_fwd/<key>:<value>/.../f32" and "<op>_bwd/...". A case is compared with f64 before
// it is timed; where it fails, its benchmarks end with an error.
//
// Counters: GFLOP/s, and %peak of the sgemm ceiling; GB/s, and %bw of the copy ceiling, for the
// bytes that every implementation must move (forward inputs and outputs, backward the gradients of
// both); max_err, the largest error relative to the largest element of its tensor.
class OpBenchmarks {
 public:
  OpBenchmarks(std::vector<OpCase> cases, const CpuExec& exec, const Ceilings& ceilings)
      : cases_(std::move(cases)), exec_(exec), ceilings_(ceilings), verified_(cases_.size()) {}
  OpBenchmarks(const OpBenchmarks&) = delete;
  OpBenchmarks& operator=(const OpBenchmarks&) = delete;

  // With the library; this object must outlive the run.
  void register_all();
  // Whether a case computed something wrong.
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  enum class Pass : uint8_t { kForward, kBackward };
  struct Verified {
    bool done = false;
    std::string failure;
    double worst_error = 0;
  };
  const Verified& verified(size_t index);
  void run(benchmark::State& state, size_t index, Pass pass);
  // The counters of an iteration that takes `seconds`.
  void count(benchmark::State& state, const OpCase& c, Pass pass, int64_t output_bytes,
             double seconds) const;

  std::vector<OpCase> cases_;
  CpuExec exec_;
  Ceilings ceilings_;
  std::vector<Verified> verified_;
  bool failed_ = false;
};

// The ceilings, the number of threads and our own build type (the library's says nothing about
// ours) as context of the report.
void add_context(const Ceilings& ceilings, int threads);

// "conv2d/n:1/c:3" -> "conv2d_fwd/n:1/c:3/f32"
std::string benchmark_name(const std::string& case_name, const std::string& pass);

}  // namespace bigbigan
