#include "kernels/bench/kernel_benchmarks.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/bench/stopwatch.h"

namespace bigbigan {
namespace {

std::string launcher_of(const KernelCase& c) { return c.name.substr(0, c.name.find('/')); }

int64_t bytes_of(const PreparedKernel& kernel) {
  int64_t bytes = 0;
  for (const Tensor& t : kernel.moved) bytes += t.view().bytes();
  return bytes;
}

}  // namespace

void KernelBenchmarks::register_all() {
  for (size_t i = 0; i < cases_.size(); ++i) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      if (dtype == DType::kBF16 && !(target_.is_gpu() && cases_[i].takes_bf16)) continue;
      set_up(benchmark::RegisterBenchmark(
                 fmt::format("{}/{}", cases_[i].name, name_of(dtype)).c_str(),
                 [this, i, dtype](benchmark::State& state) { run(state, i, dtype); }),
             target_);
    }
  }
}

const KernelCase& KernelBenchmarks::small_of(size_t index) const {
  const std::string launcher = launcher_of(cases_[index]);
  const auto same = [&](const KernelCase& c) { return launcher_of(c) == launcher; };
  auto skip = std::count_if(cases_.begin(), cases_.begin() + static_cast<int64_t>(index), same);
  const KernelCase* found = nullptr;
  for (const KernelCase& c : small_) {
    if (!same(c)) continue;
    found = &c;
    if (skip-- == 0) break;
  }
  check(found != nullptr, "bench: no small case of {}", launcher);
  return *found;
}

double KernelBenchmarks::run_on_host(benchmark::State& state, const PreparedKernel& kernel) const {
  kernel.launch();  // warms up
  double total = 0;
  for ([[maybe_unused]] auto iteration : state) {
    const Stopwatch watch;
    kernel.launch();
    const double seconds = watch.seconds();
    state.SetIterationTime(seconds);
    total += seconds;
  }
  return total / static_cast<double>(state.iterations());
}

double KernelBenchmarks::run_on_gpu(benchmark::State& state, const KernelCase& c,
                                    KernelSetup& setup, const PreparedKernel& first) const {
  DeviceTimer& timer = *target_.timer;
  std::vector<Work> works = {first.launch};
  for (int64_t left = timer.cold_sets(bytes_of(first)) - 1; left > 0; --left) {
    works.push_back(c.prepare(setup).launch);
  }
  const double seconds = timer.seconds_per_call(works);
  state.counters["hot_us"] = 1e6 * timer.seconds_per_call(std::span(works).first(1));
  for ([[maybe_unused]] auto iteration : state) state.SetIterationTime(seconds);
  return seconds;
}

void KernelBenchmarks::run(benchmark::State& state, size_t index, DType dtype) {
  if (!target_.begin(state)) return;
  const KernelCase& c = cases_[index];
  const AnyExec exec = target_.device.exec();
  double worst_error = 0;
  const std::string failure =
      check_kernel(small_of(index), exec, target_.device.allocator(), dtype, worst_error);
  if (!failure.empty()) {
    failed_ = true;
    return state.SkipWithError(failure.c_str());
  }
  HostAllocator host;
  const auto pool = target_.is_gpu() ? target_.device.accelerator()->private_pool() : nullptr;
  Allocator& allocator = pool ? *pool : static_cast<Allocator&>(host);
  KernelSetup setup({.exec = exec, .allocator = &allocator}, dtype, dtype);
  const PreparedKernel first = c.prepare(setup);
  const double seconds =
      target_.is_gpu() ? run_on_gpu(state, c, setup, first) : run_on_host(state, first);
  target_.count(state,
                {.bytes = static_cast<double>(bytes_of(first)), .flops = c.flops, .dtype = dtype},
                seconds, worst_error);
}

}  // namespace bigbigan
