#include "kernels/bench/op_benchmarks.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/bench/stopwatch.h"
#include "tests/harness/checks.h"

namespace bigbigan {
namespace {

int64_t bytes_of(const OpCase& c, bool gradients_only) {
  int64_t elems = 0;
  for (const CaseInput& input : c.inputs) {
    if (!gradients_only || input.wants_gradient) elems += input.shape.elems();
  }
  return elems * static_cast<int64_t>(sizeof(float));
}

int64_t bytes_of(const Outputs& outputs) {
  int64_t bytes = 0;
  for (const Var& y : outputs) bytes += y.value.view().bytes();
  return bytes;
}

// Gradient buffers of a case's inputs, and leaves on a tape that write to them.
class Leaves {
 public:
  Leaves(const Context& ctx, const OpCase& c) : case_(c), inputs_(case_inputs(ctx, c, ctx.dtype)) {
    for (const Tensor& x : inputs_) gradients_.push_back(Tensor::empty(ctx, x.shape(), x.dtype()));
  }

  [[nodiscard]] std::vector<Var> constants() const { return {inputs_.begin(), inputs_.end()}; }
  std::vector<Var> on(Tape& tape) const {
    std::vector<Var> vars = constants();
    for (size_t i = 0; i < vars.size(); ++i) {
      if (!case_.inputs[i].wants_gradient) continue;
      vars[i] = tape.leaf(inputs_[i], gradients_[i].view(), false, static_cast<int64_t>(i));
    }
    return vars;
  }

 private:
  const OpCase& case_;
  std::vector<Tensor> inputs_, gradients_;
};

double forward_seconds(const Context& ctx, const OpCase& c, const std::vector<Var>& inputs) {
  const Stopwatch watch;
  c.run(ctx, inputs);
  return watch.seconds();
}

// Forward on a tape, untimed, then the seconds that backward takes.
double backward_seconds(const Context& ctx, const OpCase& c, const Leaves& leaves,
                        const std::vector<Tensor>& seeds) {
  Tape tape;
  const Outputs outputs = c.run(ctx.with_tape(&tape), leaves.on(tape));
  for (size_t k = 0; k < outputs.size(); ++k) {
    if (outputs[k].slot != Var::kConstant) tape.seed(outputs[k], seeds[k]);
  }
  const Stopwatch watch;
  tape.backward(ctx);
  return watch.seconds();
}

}  // namespace

void add_context(const Ceilings& ceilings, int threads) {
  benchmark::AddCustomContext("bigbigan_build_type", BIGBIGAN_BUILD_TYPE);
  benchmark::AddCustomContext("bigbigan_cpu_arch", BIGBIGAN_CPU_ARCH);
  benchmark::AddCustomContext("threads", std::to_string(threads));
  benchmark::AddCustomContext("copy_GB_per_s", fmt::format("{:.2f}", ceilings.copy_gb_per_s));
  benchmark::AddCustomContext("sgemm_GFLOP_per_s",
                              fmt::format("{:.2f}", ceilings.sgemm_gflop_per_s));
}

std::string benchmark_name(const std::string& case_name, const std::string& pass) {
  const size_t slash = std::min(case_name.find('/'), case_name.size());
  return case_name.substr(0, slash) + "_" + pass + case_name.substr(slash) + "/f32";
}

void OpBenchmarks::register_all() {
  for (size_t i = 0; i < cases_.size(); ++i) {
    const OpCase& c = cases_[i];
    const auto add = [&](const char* name, Pass pass) {
      benchmark::RegisterBenchmark(
          benchmark_name(c.name, name).c_str(),
          [this, i, pass](benchmark::State& state) { run(state, i, pass); })
          ->UseManualTime()
          ->Unit(benchmark::kMicrosecond);
    };
    add("fwd", Pass::kForward);
    const bool differentiable = std::any_of(c.inputs.begin(), c.inputs.end(),
                                            [](const CaseInput& x) { return x.wants_gradient; });
    if (differentiable) add("bwd", Pass::kBackward);
  }
}

const OpBenchmarks::Verified& OpBenchmarks::verified(size_t index) {
  Verified& v = verified_[index];
  if (!v.done) {
    v.failure = check_f32(cases_[index], v.worst_error);
    v.done = true;
    failed_ = failed_ || !v.failure.empty();
  }
  return v;
}

void OpBenchmarks::run(benchmark::State& state, size_t index, Pass pass) {
  const OpCase& c = cases_[index];
  const Verified& v = verified(index);
  if (!v.failure.empty()) return state.SkipWithError(v.failure.c_str());
  HostAllocator allocator;
  const Context ctx{.exec = exec_,
                    .allocator = &allocator,
                    .batch_statistics = c.training,
                    .power_iteration = c.training};
  const Leaves leaves(ctx, c);
  const std::vector<Var> inputs = leaves.constants();
  std::vector<Tensor> seeds;
  const Outputs outputs = c.run(ctx, inputs);  // warms up
  for (const Var& y : outputs) seeds.push_back(y.value);
  if (pass == Pass::kBackward) backward_seconds(ctx, c, leaves, seeds);
  double total = 0;
  for ([[maybe_unused]] auto iteration : state) {
    const double seconds = pass == Pass::kForward ? forward_seconds(ctx, c, inputs)
                                                  : backward_seconds(ctx, c, leaves, seeds);
    state.SetIterationTime(seconds);
    total += seconds;
  }
  count(state, c, pass, bytes_of(outputs), total / static_cast<double>(state.iterations()));
  state.counters["max_err"] = v.worst_error;
}

void OpBenchmarks::count(benchmark::State& state, const OpCase& c, Pass pass, int64_t output_bytes,
                         double seconds) const {
  const bool backward = pass == Pass::kBackward;
  const auto bytes = static_cast<double>(bytes_of(c, backward) + output_bytes);
  const double gb_per_s = 1e-9 * bytes / seconds;
  state.counters["GB/s"] = gb_per_s;
  state.counters["%bw"] = 100 * gb_per_s / ceilings_.copy_gb_per_s;
  if (c.flops == 0) return;
  const double gflop_per_s = 1e-9 * c.flops * (backward ? 2 : 1) / seconds;
  state.counters["GFLOP/s"] = gflop_per_s;
  state.counters["%peak"] = 100 * gflop_per_s / ceilings_.sgemm_gflop_per_s;
}

}  // namespace bigbigan
