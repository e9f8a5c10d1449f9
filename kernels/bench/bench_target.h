// Where a benchmark runs, and what it is compared with.
#pragma once

#include <benchmark/benchmark.h>

#include <limits>

#include "kernels/bench/ceilings.h"
#include "kernels/bench/stopwatch.h"

namespace bigbigan {

struct BenchTarget {
  Device& device;
  Ceilings ceilings;
  DeviceTimer* timer = nullptr;                              // of a GPU; null on the CPU
  double seconds = std::numeric_limits<double>::infinity();  // for all benchmarks together
  Stopwatch since_start;

  [[nodiscard]] bool is_gpu() const { return timer != nullptr; }
  // Whether there is time for one more benchmark; if not, its line says so.
  [[nodiscard]] bool begin(benchmark::State& state) const {
    const bool is_in_time = since_start.seconds() < seconds;
    if (!is_in_time) state.SkipWithError("no time left");
    return is_in_time;
  }
  // The counters of a call.
  void count(benchmark::State& state, const CallWork& work, double seconds,
             double worst_error) const {
    for (const auto& [name, value] : rates(work, seconds, ceilings)) state.counters[name] = value;
    state.counters["max_err"] = worst_error;
  }
};

// Manual time in microseconds. On a GPU a repetition is one measurement, which is a median itself.
inline void set_up(benchmark::internal::Benchmark* benchmark, const BenchTarget& target) {
  benchmark->UseManualTime()->Unit(benchmark::kMicrosecond);
  if (target.is_gpu()) benchmark->Iterations(1);
}

}  // namespace bigbigan
