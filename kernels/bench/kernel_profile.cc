#include "kernels/bench/kernel_profile.h"

#include <utility>

namespace bigbigan {

double KernelProfile::seconds() const {
  double sum = 0;
  for (const auto& [launcher, row] : rows) sum += row.seconds;
  return sum;
}

void Profiler::begin(std::string_view launcher, const LaunchWork& work) {
  if (!work.sizes.empty()) {
    calls_.push_back({std::string(launcher), {work.sizes.begin(), work.sizes.end()}});
  }
  spans_.push_back({.launcher = std::string(launcher), .outer = open_});
  open_ = static_cast<int>(spans_.size()) - 1;
  spans_[open_].from = timeline_.mark();
}

void Profiler::end() {
  Span& span = spans_[open_];
  span.to = timeline_.mark();
  open_ = span.outer;
}

KernelProfile Profiler::take() {
  KernelProfile profile;
  for (const Span& span : spans_) {
    const double seconds = timeline_.seconds(span.from, span.to);
    KernelProfile::Row& row = profile.rows[span.launcher];
    ++row.calls;
    row.seconds += seconds;
    if (span.outer >= 0) profile.rows[spans_[span.outer].launcher].seconds -= seconds;
  }
  profile.calls = std::exchange(calls_, {});
  spans_.clear();
  timeline_.clear();
  return profile;
}

}  // namespace bigbigan
