#include "kernels/bench/step_benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "kernels/bench/device_timer.h"
#include "kernels/bench/replay.h"
#include "kernels/bench/stopwatch.h"
#include "kernels/bench/synthetic_training.h"

namespace bigbigan {
namespace {

template <class F>
double median_of(const std::vector<StepRound>& rounds, const F& value_of) {
  std::vector<double> values;
  for (const StepRound& round : rounds) values.push_back(value_of(round));
  return median(std::move(values));
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
           const auto& rows = (r.*part).profile.rows;
           const auto row = rows.find(launcher);
           return row == rows.end() ? 0.0 : row->second.seconds;
         });
}

// Floating-point operations of the library calls, by launcher.
std::map<std::string, double> gigaflops_by_launcher(const KernelProfile& profile) {
  std::map<std::string, double> sums;
  for (const KernelProfile::Call& call : profile.calls)
    sums[call.launcher] += 1e-9 * flops_of(call);
  return sums;
}

std::string table(const std::vector<StepRound>& rounds) {
  const KernelProfile& first = rounds[0].step.profile;
  const auto gigaflops = gigaflops_by_launcher(first);
  std::multimap<double, std::string, std::greater<>> by_time;
  double total = 0;
  for (const auto& [launcher, row] : first.rows) {
    const double ms = milliseconds(rounds, &StepRound::step, launcher);
    by_time.emplace(ms, launcher);
    total += ms;
  }
  std::string text = fmt::format("{:<32}{:>6}{:>10}{:>9}{:>11}{:>10}\n", "launcher", "calls", "ms",
                                 "share", "alone ms", "GFLOP/s");
  for (const auto& [ms, launcher] : by_time) {
    text += fmt::format("{:<32}{:>6}{:>10.3f}{:>8.1f}%", launcher,
                        first.rows.find(launcher)->second.calls, ms, 100 * ms / total);
    if (const auto work = gigaflops.find(launcher); work != gigaflops.end()) {
      const double alone = milliseconds(rounds, &StepRound::alone, launcher);
      text += fmt::format("{:>11.3f}{:>10.1f}", alone, work->second / alone * 1e3);
    }
    text += "\n";
  }
  const double outside = 1e3 * median_of(rounds, [](const StepRound& r) {
                           return r.step.wall_seconds - r.step.profile.seconds();
                         });
  return text + fmt::format("{:<38}{:>10.3f}\n", "outside launchers", outside);
}

// Runs `body`, which the part's profile watches.
template <class Body>
StepRound::Part time_part(Timeline& timeline, const Body& body) {
  Profiler profiler(timeline);
  StepRound::Part part;
  const Stopwatch watch;
  body(&profiler);
  part.wall_seconds = watch.seconds();
  part.cpu_seconds = watch.cpu_seconds();
  part.profile = profiler.take();
  return part;
}

}  // namespace

std::vector<StepRound> time_steps(const Config& config, Device& device, int repeats,
                                  Communicator* comm) {
  SyntheticTraining training(config, device, comm);
  const auto timeline = device.timeline();
  const auto run_step = [&](KernelObserver* observer) { training.run(observer); };
  const KernelProfile first = time_part(*timeline, run_step).profile;
  training.run(nullptr);
  std::map<KernelProfile::Call, Replay> replays;
  for (const KernelProfile::Call& call : first.calls) {
    if (replays.find(call) == replays.end()) {
      replays.emplace(call, replay_of(training.context(), call));
    }
  }
  const auto run_alone = [&](KernelObserver* observer) {
    const CpuExec observed{device.cpu().parallel, observer};
    for (const KernelProfile::Call& call : first.calls) replays.at(call)(observed);
  };
  run_alone(nullptr);
  std::vector<StepRound> rounds(repeats);
  for (StepRound& round : rounds) {
    round.step = time_part(*timeline, run_step);
    round.alone = time_part(*timeline, run_alone);
  }
  return rounds;
}

std::string describe(const Config& config, const std::vector<StepRound>& rounds, int threads) {
  const double step = median_of(rounds, [](const StepRound& r) { return r.step.wall_seconds; });
  const auto batch = static_cast<double>(config.train.batch);
  return fmt::format("{} threads, batch {}, {} updates of D and one of G and E: {:.0f} img/s\n",
                     threads, config.train.batch, config.train.d_steps, batch / step) +
         fmt::format("alone: its {} convolutions and matrix products by themselves; {} rounds\n\n",
                     rounds[0].alone.profile.calls.size(), rounds.size()) +
         summary(rounds) + "\nMedian times of launchers:\n" + table(rounds);
}

StepTimes times_of(const std::vector<StepRound>& rounds) {
  StepTimes times;
  times.launched_seconds =
      median_of(rounds, [](const StepRound& r) { return r.step.wall_seconds; });
  times.profile = rounds[0].step.profile;
  for (auto& [launcher, row] : times.profile.rows) {
    row.seconds = 1e-3 * milliseconds(rounds, &StepRound::step, launcher);
  }
  return times;
}

}  // namespace bigbigan
