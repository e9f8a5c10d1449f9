// The two clocks, in seconds.
#pragma once

#include <chrono>

namespace bigbigan {

// Since some moment in the past, never backwards: for durations.
inline double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Since 1970: for time stamps.
inline double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace bigbigan
