// Stopping on request.
#pragma once

namespace bigbigan {

// While one exists, SIGTERM, SIGINT and SIGUSR1 ask for a stop at the next safe point instead of ending the
// process; a third request ends it at once. SIGPIPE and SIGXFSZ are ignored, so that the failed write reports
// itself. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  [[nodiscard]] static bool requested();
};

}  // namespace bigbigan
