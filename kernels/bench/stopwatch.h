// Wall time and CPU time since construction.
#pragma once

#include <chrono>
#include <ctime>

namespace bigbigan {

class Stopwatch {
 public:
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }
  // Of all threads of the process.
  [[nodiscard]] double cpu_seconds() const { return cpu_time() - cpu_start_; }

 private:
  using Clock = std::chrono::steady_clock;
  static double cpu_time() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

  Clock::time_point start_ = Clock::now();
  double cpu_start_ = cpu_time();
};

}  // namespace bigbigan
