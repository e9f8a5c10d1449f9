// Op cases as Google Benchmarks, forward and backward, in f32.
#pragma once

#include <string>
#include <vector>

#include "kernels/bench/bench_target.h"
#include "kernels/bench/op_run.h"

namespace bigbigan {

// Names are "<op>_fwd/<key>:<value>/.../f32" and "<op>_bwd/...". A case is compared with f64 before
// it is timed; where it fails, its benchmarks end with an error. Counters: rates() of the bytes and
// FLOPs of the case (backward twice those of forward), and max_err, the largest error relative to
// the largest element of its tensor.
//
// On the CPU the time is that of one call after the other. On a GPU it is that of a graph of calls
// whose operands rotate, and the counter hot_us that of the same operands over and over; backward
// is the time of both passes less that of forward.
class OpBenchmarks {
 public:
  OpBenchmarks(std::vector<OpCase> cases, const BenchTarget& target)
      : cases_(std::move(cases)), target_(target), verified_(cases_.size()) {}
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
  void run_on_host(benchmark::State& state, size_t index, Pass pass) const;
  void run_on_gpu(benchmark::State& state, size_t index, Pass pass) const;
  // The counters of a call of `op` that takes `seconds`.
  void count(benchmark::State& state, size_t index, Pass pass, const OpRun& op,
             double seconds) const;

  std::vector<OpCase> cases_;
  const BenchTarget& target_;
  std::vector<Verified> verified_;
  bool failed_ = false;
};

// "conv2d/n:1/c:3" -> "conv2d_fwd/n:1/c:3/f32"
std::string benchmark_name(const std::string& case_name, const std::string& pass);

}  // namespace bigbigan
