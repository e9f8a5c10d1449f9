// Kernel cases as Google Benchmarks: on a GPU in f32 and bf16, on the CPU in f32.
#pragma once

#include "kernels/bench/bench_target.h"
#include "kernels/bench/kernel_case.h"

namespace bigbigan {

// Names are "<launcher>/<key>:<value>/.../<dtype>". A kernel is compared with f64, with the sizes
// of small_sizes(), before it is timed with its own.
class KernelBenchmarks {
 public:
  KernelBenchmarks(const KernelSizes& sizes, const BenchTarget& target)
      : cases_(kernel_cases(sizes)), small_(kernel_cases(small_sizes())), target_(target) {}
  KernelBenchmarks(const KernelBenchmarks&) = delete;
  KernelBenchmarks& operator=(const KernelBenchmarks&) = delete;

  // With the library; this object must outlive the run.
  void register_all();
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  void run(benchmark::State& state, size_t index, DType dtype);
  double run_on_host(benchmark::State& state, const PreparedKernel& kernel) const;
  double run_on_gpu(benchmark::State& state, const KernelCase& c, KernelSetup& setup,
                    const PreparedKernel& first) const;
  // The small case of the same launcher and place in the list.
  [[nodiscard]] const KernelCase& small_of(size_t index) const;

  std::vector<KernelCase> cases_, small_;
  const BenchTarget& target_;
  bool failed_ = false;
};

}  // namespace bigbigan
