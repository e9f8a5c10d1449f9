#include "eval/progress.h"

#include <fmt/format.h>

#include "engine/util/clock.h"
#include "engine/util/signals.h"
#include "engine/util/text.h"
#include "kernels/common/error.h"

namespace bigbigan {

void Progress::update(int64_t done, int64_t total) {
  if (StopSignals::requested())
    fail(ExitCode::kStopped, "stopped on request; run it again for a result");
  const double now = monotonic_seconds(), interval = line_.on_terminal() ? 1 : 20;
  if (started_ == 0) started_ = shown_ = now;
  if (now - shown_ < interval || done == 0) return;
  shown_ = now;
  const double left =
      (now - started_) / static_cast<double>(done) * static_cast<double>(total - done);
  line_.update(fmt::format("{} {}/{} eta {}", what_, format_count(done), format_count(total),
                           format_duration(left)));
}

}  // namespace bigbigan
