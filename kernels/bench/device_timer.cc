#include "kernels/bench/device_timer.h"

#include <algorithm>
#include <cmath>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

std::unique_ptr<Recording> record_if_possible(Accelerator& device, const Work& work) {
  try {
    return device.record(work);
  } catch (const Error& error) {
    if (error.code() != ExitCode::kSystem) throw;
    return nullptr;
  }
}

}  // namespace

double median(std::vector<double> values) {
  check(!values.empty(), "median of nothing");
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double DeviceTimer::seconds_of(const Work& body) {
  timeline_->clear();
  const size_t from = timeline_->mark();
  body();
  return timeline_->seconds(from, timeline_->mark());
}

double DeviceTimer::seconds_per_call(std::span<const Work> works) {
  const Work one_round = [&] {
    for (const Work& work : works) work();
  };
  one_round();
  const double estimate = std::max(seconds_of(one_round), 1e-9);
  const int64_t rounds = std::clamp<int64_t>(std::llround(std::ceil(options_.seconds / estimate)),
                                             1, options_.max_rounds);
  const Work all_rounds = [&] {
    for (int64_t i = 0; i < rounds; ++i) one_round();
  };
  const auto recording = record_if_possible(device_, all_rounds);
  const Work run = recording ? Work([&] { recording->replay(); }) : all_rounds;
  run();
  std::vector<double> times;
  for (int i = 0; i < options_.replays; ++i) times.push_back(seconds_of(run));
  return median(times) / static_cast<double>(rounds * static_cast<int64_t>(works.size()));
}

int64_t DeviceTimer::cold_sets(int64_t bytes) const {
  const int64_t wanted = 4 * device_.properties().cache_bytes / std::max<int64_t>(bytes, 1) + 1;
  return std::clamp<int64_t>(wanted, 2, std::max<int64_t>(2, options_.max_sets));
}

}  // namespace bigbigan
