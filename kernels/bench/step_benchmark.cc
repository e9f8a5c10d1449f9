#include "kernels/bench/step_benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>

#include "kernels/bench/replay.h"
#include "kernels/bench/stopwatch.h"
#include "kernels/random/philox.h"
#include "train/step.h"

namespace bigbigan {
namespace {

// A model that trains on images of noise.
class SyntheticTraining {
 public:
  SyntheticTraining(const Config& config, const CpuExec& exec)
      : config_(config),
        ctx_{.exec = exec, .allocator = &allocator_},
        observed_ctx_{.exec = CpuExec{exec.parallel, &observer_}, .allocator = &allocator_},
        model_(config.model),
        pixels_(noise()) {
    model_.allocate(ctx_, true);
    model_.initialize(static_cast<uint64_t>(config.train.seed));
    step_.emplace(config_, model_, observed_ctx_);
  }

  // One step, which `profile` watches.
  void run(KernelProfile& profile) {
    observer_.target = &profile;
    const ImageBatch batch = image_batch(ctx_, pixels_, Tensor(), 0, config_.train.batch);
    step_->run(std::vector(config_.train.d_steps + 1, batch), ++steps_);
  }

  [[nodiscard]] const Context& context() const { return ctx_; }

 private:
  // Passes calls on to the profile of the moment.
  struct Switch final : KernelObserver {
    KernelProfile* target = nullptr;
    void begin(std::string_view launcher, std::span<const int64_t> sizes) override {
      target->begin(launcher, sizes);
    }
    void end() override { target->end(); }
  };

  Tensor noise() const {
    const int64_t r = model_.arch.encoder_resolution;
    const Shape shape{config_.train.batch, r, r, config_.model.image_channels};
    std::vector<uint8_t> pixels(shape.elems());
    for (size_t i = 0; i < pixels.size(); ++i) {
      pixels[i] = static_cast<uint8_t>(philox(0, RandomStream::kSample, i, 0).word[0]);
    }
    return Tensor::from_host(ctx_, shape, DType::kU8, pixels.data());
  }

  const Config& config_;
  Switch observer_;
  HostAllocator allocator_;
  Context ctx_, observed_ctx_;
  BigBiGAN model_;
  Tensor pixels_;
  std::optional<TrainingStep> step_;
  int64_t steps_ = 0;
};

template <class F>
double median_of(const std::vector<StepRound>& rounds, const F& value_of) {
  std::vector<double> values;
  for (const StepRound& round : rounds) values.push_back(value_of(round));
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// A line of the summary: the step's and the library calls' time, and their ratio.
template <class F>
std::string summary_line(const char* name, const std::vector<StepRound>& rounds, const F& time) {
  const double step = median_of(rounds, [&](const StepRound& r) { return time(r.step); });
  const double alone = median_of(rounds, [&](const StepRound& r) { return time(r.alone); });
  const double ratio =
      median_of(rounds, [&](const StepRound& r) { return time(r.alone) / time(r.step); });
  return fmt::format("{:<12}{:>12.2f}{:>14.2f}{:>12.1f} %\n", name, step * 1e3, alone * 1e3,
                     ratio * 100);
}

std::string summary(const std::vector<StepRound>& rounds) {
  const auto wall = [](const StepRound::Part& part) { return part.wall_seconds; };
  const auto cpu = [](const StepRound::Part& part) { return part.cpu_seconds; };
  const auto faster = [&](const StepRound& a, const StepRound& b) {
    return wall(a.step) < wall(b.step);
  };
  return fmt::format("{:<12}{:>12}{:>14}{:>14}\n", "", "step ms", "alone ms", "alone / step") +
         summary_line("median", rounds, wall) + summary_line("CPU time", rounds, cpu) +
         summary_line("fastest", {*std::min_element(rounds.begin(), rounds.end(), faster)}, wall);
}

// The median over rounds of a launcher's time in ms, in the step or alone.
double milliseconds(const std::vector<StepRound>& rounds, StepRound::Part StepRound::*part,
                    const std::string& launcher) {
  return 1e3 * median_of(rounds, [&](const StepRound& r) {
           const auto& rows = (r.*part).profile.rows();
           const auto row = rows.find(launcher);
           return row == rows.end() ? 0.0 : row->second.seconds;
         });
}

// Floating-point operations of the library calls, by launcher.
std::map<std::string, double> gigaflops_by_launcher(const KernelProfile& profile) {
  std::map<std::string, double> sums;
  for (const KernelProfile::Call& call : profile.calls())
    sums[call.launcher] += 1e-9 * flops_of(call);
  return sums;
}

std::string table(const std::vector<StepRound>& rounds) {
  const KernelProfile& first = rounds[0].step.profile;
  const auto gigaflops = gigaflops_by_launcher(first);
  std::multimap<double, std::string, std::greater<>> by_time;
  double total = 0;
  for (const auto& [launcher, row] : first.rows()) {
    const double ms = milliseconds(rounds, &StepRound::step, launcher);
    by_time.emplace(ms, launcher);
    total += ms;
  }
  std::string text = fmt::format("{:<32}{:>6}{:>10}{:>9}{:>11}{:>10}\n", "launcher", "calls", "ms",
                                 "share", "alone ms", "GFLOP/s");
  for (const auto& [ms, launcher] : by_time) {
    text += fmt::format("{:<32}{:>6}{:>10.3f}{:>8.1f}%", launcher,
                        first.rows().find(launcher)->second.calls, ms, 100 * ms / total);
    if (const auto work = gigaflops.find(launcher); work != gigaflops.end()) {
      const double alone = milliseconds(rounds, &StepRound::alone, launcher);
      text += fmt::format("{:>11.3f}{:>10.1f}", alone, work->second / alone * 1e3);
    }
    text += "\n";
  }
  const double outside = 1e3 * median_of(rounds, [](const StepRound& r) {
                           double inside = 0;
                           for (const auto& [launcher, row] : r.step.profile.rows())
                             inside += row.seconds;
                           return r.step.wall_seconds - inside;
                         });
  return text + fmt::format("{:<38}{:>10.3f}\n", "outside launchers", outside);
}

// Runs `body`, which the part's profile watches.
template <class Body>
void time_part(StepRound::Part& part, const Body& body) {
  const Stopwatch watch;
  body(part.profile);
  part.wall_seconds = watch.seconds();
  part.cpu_seconds = watch.cpu_seconds();
}

}  // namespace

std::vector<StepRound> time_steps(const Config& config, const CpuExec& exec, int repeats) {
  SyntheticTraining training(config, exec);
  KernelProfile first, second;
  training.run(first);
  training.run(second);
  std::map<KernelProfile::Call, Replay> replays;
  for (const KernelProfile::Call& call : first.calls()) {
    if (replays.find(call) == replays.end()) {
      replays.emplace(call, replay_of(training.context(), call));
    }
  }
  const auto run_alone = [&](KernelProfile& profile) {
    const CpuExec observed{exec.parallel, &profile};
    for (const KernelProfile::Call& call : first.calls()) replays.at(call)(observed);
  };
  KernelProfile warm_up;
  run_alone(warm_up);
  std::vector<StepRound> rounds(repeats);
  for (StepRound& round : rounds) {
    time_part(round.step, [&](KernelProfile& profile) { training.run(profile); });
    time_part(round.alone, run_alone);
  }
  return rounds;
}

std::string describe(const Config& config, const std::vector<StepRound>& rounds, int threads) {
  const double step = median_of(rounds, [](const StepRound& r) { return r.step.wall_seconds; });
  const auto batch = static_cast<double>(config.train.batch);
  return fmt::format("{} threads, batch {}, {} updates of D and one of G and E: {:.0f} img/s\n",
                     threads, config.train.batch, config.train.d_steps, batch / step) +
         fmt::format("alone: its {} convolutions and matrix products by themselves; {} rounds\n\n",
                     rounds[0].alone.profile.calls().size(), rounds.size()) +
         summary(rounds) + "\nMedian times of launchers:\n" + table(rounds);
}

}  // namespace bigbigan
