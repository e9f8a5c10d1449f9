// Time as the device sees it: marks between launches.
#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace bigbigan {

class Timeline {
 public:
  virtual ~Timeline() = default;
  // Marks the moment when everything launched so far has run; the number of the mark, from 0.
  virtual size_t mark() = 0;
  // From one mark to a later one; waits until that one has passed.
  virtual double seconds(size_t from, size_t to) = 0;
  // Forgets all marks.
  virtual void clear() = 0;
};

// The host's clock: for a backend whose launches have run when they return.
class HostTimeline final : public Timeline {
 public:
  size_t mark() override {
    marks_.push_back(Clock::now());
    return marks_.size() - 1;
  }
  double seconds(size_t from, size_t to) override {
    return std::chrono::duration<double>(marks_.at(to) - marks_.at(from)).count();
  }
  void clear() override { marks_.clear(); }

 private:
  using Clock = std::chrono::steady_clock;
  std::vector<Clock::time_point> marks_;
};

}  // namespace bigbigan
