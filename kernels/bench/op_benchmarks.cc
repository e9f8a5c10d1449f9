#include "kernels/bench/op_benchmarks.h"

#include <algorithm>
#include <deque>

#include "kernels/bench/stopwatch.h"
#include "tests/harness/checks.h"

namespace bigbigan {

std::string benchmark_name(const std::string& case_name, const std::string& pass) {
  const size_t slash = std::min(case_name.find('/'), case_name.size());
  return case_name.substr(0, slash) + "_" + pass + case_name.substr(slash) + "/f32";
}

void OpBenchmarks::register_all() {
  for (size_t i = 0; i < cases_.size(); ++i) {
    const OpCase& c = cases_[i];
    const auto add = [&](const char* name, Pass pass) {
      set_up(benchmark::RegisterBenchmark(
                 benchmark_name(c.name, name).c_str(),
                 [this, i, pass](benchmark::State& state) { run(state, i, pass); }),
             target_);
    };
    add("fwd", Pass::kForward);
    if (is_differentiable(c)) add("bwd", Pass::kBackward);
  }
}

const OpBenchmarks::Verified& OpBenchmarks::verified(size_t index) {
  Verified& v = verified_[index];
  if (!v.done) {
    const AnyExec exec = target_.device.exec();
    v.failure = target_.is_gpu()
                    ? check_f32(cases_[index], v.worst_error, &exec, &target_.device.allocator())
                    : check_f32(cases_[index], v.worst_error);
    v.done = true;
    failed_ = failed_ || !v.failure.empty();
  }
  return v;
}

void OpBenchmarks::run_on_host(benchmark::State& state, size_t index, Pass pass) const {
  HostAllocator allocator;
  OpRun op({.exec = target_.device.cpu(), .allocator = &allocator}, cases_[index]);
  const auto seconds_of = [&] {
    Stopwatch watch;
    if (pass == Pass::kForward)
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
  count(state, index, pass, op, total / static_cast<double>(state.iterations()));
}

void OpBenchmarks::run_on_gpu(benchmark::State& state, size_t index, Pass pass) const {
  const OpCase& c = cases_[index];
  DeviceTimer& timer = *target_.timer;
  const auto pool = target_.device.accelerator()->private_pool();
  const Context ctx{.exec = target_.device.exec(), .allocator = pool.get()};
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
    if (pass == Pass::kForward) return first;
    return std::max(timer.seconds_per_call(std::span(both).first(sets)) - first, 1e-9);
  };
  const double seconds = seconds_of(ops.size());
  state.counters["hot_us"] = 1e6 * seconds_of(1);
  for ([[maybe_unused]] auto iteration : state) state.SetIterationTime(seconds);
  count(state, index, pass, ops[0], seconds);
}

void OpBenchmarks::run(benchmark::State& state, size_t index, Pass pass) {
  const Verified& v = verified(index);
  if (!v.failure.empty()) return state.SkipWithError(v.failure.c_str());
  target_.is_gpu() ? run_on_gpu(state, index, pass) : run_on_host(state, index, pass);
}

void OpBenchmarks::count(benchmark::State& state, size_t index, Pass pass, const OpRun& op,
                         double seconds) const {
  const bool backward = pass == Pass::kBackward;
  target_.count(state,
                {.bytes = static_cast<double>(op.bytes(backward)),
                 .flops = cases_[index].flops * (backward ? 2 : 1)},
                seconds, verified_[index].worst_error);
}

}  // namespace bigbigan
