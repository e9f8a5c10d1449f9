#include "kernels/bench/op_benchmarks.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "kernels/bench/stopwatch.h"
#include "tests/harness/checks.h"

namespace bigbigan {

std::string benchmark_name(const std::string& case_name, const std::string& pass, DType dtype) {
  const size_t slash = std::min(case_name.find('/'), case_name.size());
  return fmt::format("{}_{}{}/{}", case_name.substr(0, slash), pass, case_name.substr(slash),
                     name_of(dtype));
}

void OpBenchmarks::register_all() {
  for (size_t i = 0; i < cases_.size(); ++i) {
    const OpCase& c = cases_[i];
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      if (dtype == DType::kBF16 && !target_.is_gpu()) continue;
      const auto add = [&](const char* name, Pass pass) {
        const Job job{i, dtype, pass};
        set_up(
            benchmark::RegisterBenchmark(benchmark_name(c.name, name, dtype).c_str(),
                                         [this, job](benchmark::State& state) { run(state, job); }),
            target_);
      };
      add("fwd", Pass::kForward);
      if (is_differentiable(c)) add("bwd", Pass::kBackward);
    }
  }
}

const OpBenchmarks::Verified& OpBenchmarks::verified(const Job& job) {
  const auto [at, is_new] = verified_.try_emplace({job.index, job.dtype});
  Verified& v = at->second;
  if (is_new) {
    const OpCase& c = cases_[job.index];
    const AnyExec exec = target_.device.exec();
    v.failure = target_.is_gpu()
                    ? check_values(c, job.dtype, v.worst_error, &exec, &target_.device.allocator())
                    : check_values(c, job.dtype, v.worst_error);
    failed_ = failed_ || !v.failure.empty();
  }
  return v;
}

void OpBenchmarks::run_on_host(benchmark::State& state, const Job& job) const {
  HostAllocator allocator;
  OpRun op({.exec = target_.device.cpu(), .allocator = &allocator, .dtype = job.dtype},
           cases_[job.index]);
  const auto seconds_of = [&] {
    Stopwatch watch;
    if (job.pass == Pass::kForward)
      op.forward();
    else
      op.backward([&] { watch = Stopwatch(); });
    return watch.seconds();
  };
  seconds_of();  // warms up
  double total = 0;
  for ([[maybe_unused]] auto iteration : state) {
    const double seconds = seconds_of();
    state.SetIterationTime(seconds);
    total += seconds;
  }
  count(state, job, op, total / static_cast<double>(state.iterations()));
}

void OpBenchmarks::run_on_gpu(benchmark::State& state, const Job& job) const {
  const OpCase& c = cases_[job.index];
  DeviceTimer& timer = *target_.timer;
  const auto pool = target_.device.accelerator()->private_pool();
  const Context ctx{.exec = target_.device.exec(), .allocator = pool.get(), .dtype = job.dtype};
  std::deque<OpRun> ops;  // which must not move
  ops.emplace_back(ctx, c);
  for (int64_t left = timer.cold_sets(ops[0].bytes(false)) - 1; left > 0; --left) {
    ops.emplace_back(ctx, c);
  }
  std::vector<Work> forward, both;
  for (OpRun& op : ops) {
    forward.emplace_back([&op] { op.forward(); });
    both.emplace_back([&op] { op.backward([] {}); });
  }
  const auto seconds_of = [&](size_t sets) {
    const double first = timer.seconds_per_call(std::span(forward).first(sets));
    if (job.pass == Pass::kForward) return first;
    return std::max(timer.seconds_per_call(std::span(both).first(sets)) - first, 1e-9);
  };
  const double seconds = seconds_of(ops.size());
  state.counters["hot_us"] = 1e6 * seconds_of(1);
  for ([[maybe_unused]] auto iteration : state) state.SetIterationTime(seconds);
  count(state, job, ops[0], seconds);
}

void OpBenchmarks::run(benchmark::State& state, const Job& job) {
  if (!target_.begin(state)) return;
  const Verified& v = verified(job);
  if (!v.failure.empty()) return state.SkipWithError(v.failure.c_str());
  target_.is_gpu() ? run_on_gpu(state, job) : run_on_host(state, job);
}

void OpBenchmarks::count(benchmark::State& state, const Job& job, const OpRun& op,
                         double seconds) const {
  const bool backward = job.pass == Pass::kBackward;
  target_.count(state,
                {.bytes = static_cast<double>(op.bytes(backward)),
                 .flops = cases_[job.index].flops * (backward ? 2 : 1),
                 .dtype = job.dtype},
                seconds, verified_.at({job.index, job.dtype}).worst_error);
}

}  // namespace bigbigan
