// Stopping on request.
#pragma once

namespace bigbigan {

// While one exists, SIGTERM, SIGINT and SIGUSR1 ask for a stop at the next safe point instead of
// ending the process; a third request ends it at once. SIGUSR2 asks for a word on how it goes. One
// at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  [[nodiscard]] static bool requested();
  // Whether SIGUSR2 came since the last call.
  [[nodiscard]] static bool take_status_request();
};

}  // namespace bigbigan
