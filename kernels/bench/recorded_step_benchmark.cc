// Steps on a GPU, and the JSON object of either backend's.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/bench/device_timer.h"
#include "kernels/bench/replay.h"
#include "kernels/bench/step_benchmark.h"
#include "kernels/bench/synthetic_training.h"

namespace bigbigan {
namespace {

using NamedRow = std::pair<std::string, KernelProfile::Row>;

std::vector<NamedRow> longest_first(const KernelProfile& profile) {
  std::vector<NamedRow> rows(profile.rows.begin(), profile.rows.end());
  std::stable_sort(rows.begin(), rows.end(), [](const NamedRow& a, const NamedRow& b) {
    return a.second.seconds > b.second.seconds;
  });
  return rows;
}

// The profile whose total is the median.
KernelProfile middle_of(std::vector<KernelProfile> profiles) {
  const auto middle = profiles.begin() + static_cast<int64_t>(profiles.size() / 2);
  std::nth_element(profiles.begin(), middle, profiles.end(),
                   [](const auto& a, const auto& b) { return a.seconds() < b.seconds(); });
  return *middle;
}

std::string table(const KernelProfile& profile) {
  std::map<std::string, double> teraflops;
  for (const KernelProfile::Call& call : profile.calls)
    teraflops[call.launcher] += 1e-12 * flops_of(call);
  std::string text =
      fmt::format("{:<32}{:>6}{:>10}{:>9}{:>10}\n", "launcher", "calls", "ms", "share", "TFLOP/s");
  for (const auto& [launcher, row] : longest_first(profile)) {
    text += fmt::format("{:<32}{:>6}{:>10.3f}{:>8.1f}%", launcher, row.calls, 1e3 * row.seconds,
                        100 * row.seconds / profile.seconds());
    if (const auto work = teraflops.find(launcher); work != teraflops.end()) {
      text += fmt::format("{:>10.1f}", work->second / row.seconds);
    }
    text += "\n";
  }
  return text;
}

std::string quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace

StepTimes time_recorded_steps(const Config& config, Device& device, int repeats,
                              Communicator* comm) {
  SyntheticTraining training(config, device, comm);
  const auto timeline = device.timeline();
  const auto seconds_of = [&](const auto& step) {
    const size_t from = timeline->mark();
    step();
    const double seconds = timeline->seconds(from, timeline->mark());
    timeline->clear();
    return seconds;
  };
  const auto replay = [&] { training.replay(); };
  const auto run = [&] { training.run(nullptr); };
  for (int i = 0; i < 3; ++i) replay();
  run();
  Profiler profiler(*timeline);
  std::vector<double> captured, launched;
  std::vector<KernelProfile> profiles;
  for (int i = 0; i < repeats; ++i) {
    captured.push_back(seconds_of(replay));
    launched.push_back(seconds_of(run));
    training.run(&profiler);
    profiles.push_back(profiler.take());
  }
  return {median(captured), median(launched), middle_of(std::move(profiles))};
}

std::string describe(const Config& config, const StepTimes& times, const std::string& device) {
  return fmt::format("{}, batch {}, {} updates of D and one of G and E: {:.1f} img/s\n\n", device,
                     config.train.batch, config.train.d_steps,
                     static_cast<double>(config.train.batch) / times.seconds()) +
         fmt::format("{:<26}{:>10.3f} ms\n{:<26}{:>10.3f} ms\n{:<26}{:>10.1f} %\n\n",
                     "step as one graph", 1e3 * times.captured_seconds, "step launch by launch",
                     1e3 * times.launched_seconds, "share of launch gaps",
                     100 * (1 - times.captured_seconds / times.launched_seconds)) +
         "Launchers of a step launch by launch:\n" + table(times.profile);
}

std::string json(const std::string& preset, const Config& config, const StepTimes& times,
                 const std::string& device, int ranks) {
  std::string launchers;
  for (const auto& [name, row] : longest_first(times.profile)) {
    launchers += fmt::format("{}\n  {{\"name\": {}, \"calls\": {}, \"seconds\": {:.9f}}}",
                             launchers.empty() ? "" : ",", quoted(name), row.calls, row.seconds);
  }
  const std::string captured =
      times.captured_seconds > 0 ? fmt::format("{:.9f}", times.captured_seconds) : "null";
  return fmt::format(
      "{{\"preset\": {}, \"device\": {}, \"ranks\": {}, \"precision\": {}, \"batch\": {}, "
      "\"d_steps\": {},\n"
      " \"step_seconds_captured\": {}, \"step_seconds_launched\": {:.9f}, \"img_per_s\": {:.2f},\n"
      " \"launchers\": [{}]}}\n",
      quoted(preset), quoted(device), ranks, quoted(config.train.precision), config.train.batch,
      config.train.d_steps, captured, times.launched_seconds,
      static_cast<double>(config.train.batch) / times.seconds(), launchers);
}

}  // namespace bigbigan
