// How far a long computation is, and whether it is to stop.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "engine/util/program.h"

namespace bigbigan {

// For loops that may take long: throws Error{kStopped} once a signal has asked for a stop, and
// shows how far the work is: every second on a terminal, seldom elsewhere.
class Progress {
 public:
  explicit Progress(std::string what) : what_(std::move(what)) {}
  void update(int64_t done, int64_t total);

 private:
  std::string what_;
  ProgressLine line_;
  double started_ = 0, shown_ = 0;  // seconds
};

}  // namespace bigbigan
