// How long work takes on a GPU when the host does not hold it up.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "engine/core/device.h"

namespace bigbigan {

using Work = std::function<void()>;  // enqueues one call

// The middle one; of an even number, the upper of both.
double median(std::vector<double> values);

struct TimerOptions {
  int replays = 11;         // of which the median is taken
  int64_t max_sets = 64;    // of operands
  double seconds = 0.02;    // that a replay shall last at least, ...
  int64_t max_rounds = 64;  // ... in at most so many rounds
};
// Enough to see that everything runs.
inline constexpr TimerOptions kQuickTimer = {.replays = 3, .max_sets = 2, .seconds = 0};

class DeviceTimer {
 public:
  DeviceTimer(Accelerator& device, const TimerOptions& options)
      : device_(device), options_(options), timeline_(device.timeline()) {}

  // Seconds per call of `works`, one after the other, round after round, recorded as one graph
  // between two events: the median over replays. Each is called twice before, so that what it
  // allocates lies in its pool. Work that cannot be recorded, because it reads from the host, is
  // launched call by call.
  double seconds_per_call(std::span<const Work> works);

  // Sets of operands of `bytes` each to go through, so that none is still in the device's cache
  // when its turn comes: four times the cache in all, and at least two.
  [[nodiscard]] int64_t cold_sets(int64_t bytes) const;

 private:
  // Of `body`, between two marks.
  double seconds_of(const Work& body);

  Accelerator& device_;
  TimerOptions options_;
  std::unique_ptr<Timeline> timeline_;
};

}  // namespace bigbigan
