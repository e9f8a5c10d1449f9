#include "kernels/bench/kernel_profile.h"

namespace bigbigan {

void KernelProfile::begin(std::string_view launcher, std::span<const int64_t> sizes) {
  auto row = rows_.find(launcher);
  if (row == rows_.end()) row = rows_.emplace(launcher, Row{}).first;
  if (!sizes.empty()) calls_.push_back({std::string(launcher), {sizes.begin(), sizes.end()}});
  open_.push_back({.row = &row->second, .start = Clock::now()});
}

void KernelProfile::end() {
  const auto now = Clock::now();
  const Open closed = open_.back();
  open_.pop_back();
  const double seconds = std::chrono::duration<double>(now - closed.start).count();
  ++closed.row->calls;
  closed.row->seconds += seconds - closed.inner_seconds;
  if (!open_.empty()) open_.back().inner_seconds += seconds;
}

}  // namespace bigbigan
