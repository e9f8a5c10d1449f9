// Time and calls of each launcher, and the calls that can be run again by themselves.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "engine/core/timeline.h"
#include "kernels/common/exec.h"

namespace bigbigan {

struct KernelProfile {
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
  std::map<std::string, Row, std::less<>> rows;
  std::vector<Call> calls;

  [[nodiscard]] double seconds() const;  // of all rows
};

// Takes a profile, by a mark in front of every launcher and one behind it.
class Profiler final : public KernelObserver {
 public:
  explicit Profiler(Timeline& timeline) : timeline_(timeline) {}

  void begin(std::string_view launcher, const LaunchWork& work) override;
  void end() override;

  // The profile since the last call. Waits for the launches; forgets the timeline's marks.
  KernelProfile take();

 private:
  struct Span {
    std::string launcher;
    size_t from = 0, to = 0;
    int outer = -1;  // the span that it lies in
  };
  Timeline& timeline_;
  std::vector<Span> spans_;
  std::vector<KernelProfile::Call> calls_;
  int open_ = -1;  // the innermost open span
};

}  // namespace bigbigan
