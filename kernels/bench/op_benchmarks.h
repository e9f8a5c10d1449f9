// Op cases as Google Benchmarks, forward and backward: on a GPU in f32 and bf16, on the CPU in f32.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/bench/bench_target.h"
#include "kernels/bench/op_run.h"

namespace bigbigan {

// Names are "<op>_fwd/<key>:<value>/.../<dtype>" and "<op>_bwd/...". A case is compared with f64
// before it is timed; where it fails, its benchmarks end with an error. Counters: rates() of the
// bytes and FLOPs of the case (backward twice those of forward), and max_err, the largest error
// relative to the largest element of its tensor.
//
// On the CPU the time is that of one call after the other. On a GPU it is that of a graph of calls
// whose operands rotate, and the counter hot_us that of the same operands over and over; backward
// is the time of both passes less that of forward.
class OpBenchmarks {
 public:
  OpBenchmarks(std::vector<OpCase> cases, const BenchTarget& target)
      : cases_(std::move(cases)), target_(target) {}
  OpBenchmarks(const OpBenchmarks&) = delete;
  OpBenchmarks& operator=(const OpBenchmarks&) = delete;

  // With the library; this object must outlive the run.
  void register_all();
  // Whether a case computed something wrong.
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  enum class Pass : uint8_t { kForward, kBackward };
  struct Job {
    size_t index;  // of the case
    DType dtype;
    Pass pass;
  };
  struct Verified {
    std::string failure;
    double worst_error = 0;
  };
  // Of both passes: a case is compared once per dtype.
  const Verified& verified(const Job& job);
  void run(benchmark::State& state, const Job& job);
  void run_on_host(benchmark::State& state, const Job& job) const;
  void run_on_gpu(benchmark::State& state, const Job& job) const;
  // The counters of a call of `op` that takes `seconds`.
  void count(benchmark::State& state, const Job& job, const OpRun& op, double seconds) const;

  std::vector<OpCase> cases_;
  const BenchTarget& target_;
  std::map<std::pair<size_t, DType>, Verified> verified_;
  bool failed_ = false;
};

// "conv2d/n:1/c:3" -> "conv2d_fwd/n:1/c:3/f32"
std::string benchmark_name(const std::string& case_name, const std::string& pass, DType dtype);

}  // namespace bigbigan
