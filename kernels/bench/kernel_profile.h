// Wall time and calls of each launcher, and the calls that can be run again by themselves.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/common/exec.h"

namespace bigbigan {

class KernelProfile final : public KernelObserver {
 public:
  // A launcher that told its sizes: convolutions and matrix products.
  struct Call {
    std::string launcher;
    std::vector<int64_t> sizes;
    [[nodiscard]] bool operator<(const Call& other) const {
      return std::tie(launcher, sizes) < std::tie(other.launcher, other.sizes);
    }
  };
  struct Row {
    int64_t calls = 0;
    double seconds = 0;  // in the launcher itself: launchers that it uses have their own rows
  };

  void begin(std::string_view launcher, std::span<const int64_t> sizes) override;
  void end() override;

  [[nodiscard]] const std::map<std::string, Row, std::less<>>& rows() const { return rows_; }
  [[nodiscard]] const std::vector<Call>& calls() const { return calls_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Open {
    Row* row = nullptr;
    Clock::time_point start;
    double inner_seconds = 0;
  };
  std::map<std::string, Row, std::less<>> rows_;
  std::vector<Call> calls_;
  std::vector<Open> open_;
};

}  // namespace bigbigan
