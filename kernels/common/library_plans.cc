#include "kernels/common/library_plans.h"

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr std::string_view kIs = " = ";

}  // namespace

std::string LibraryPlans::text() const {
  const std::lock_guard lock(mutex_);
  std::string lines;
  for (const auto& [problem, entry] : entries_) {
    if (entry.choice.empty()) continue;  // no plan could be made
    lines.append(problem).append(kIs).append(entry.choice).append("\n");
  }
  return lines;
}

void LibraryPlans::take_over(std::string_view text) {
  const std::lock_guard lock(mutex_);
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    const size_t is = line.find(kIs);
    if (end == std::string_view::npos || is == std::string_view::npos || is == 0 ||
        is + kIs.size() == line.size()) {
      fail(ExitCode::kBadData, "recorded plans: expected lines \"<problem>{}<choice>\", found {}",
           kIs, line);
    }
    Entry& entry = entries_[std::string(line.substr(0, is))];
    if (!entry.plan) entry.choice = line.substr(is + kIs.size());
    text.remove_prefix(end + 1);
  }
}

}  // namespace bigbigan
