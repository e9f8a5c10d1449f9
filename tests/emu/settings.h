// What the environment chooses (EMU_...), and the random numbers of a schedule.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace emu {

enum class ScheduleOrder { kAscending, kDescending, kRandom };

struct Settings {
  ScheduleOrder order = ScheduleOrder::kAscending;  // EMU_ORDER
  uint64_t seed = 1;                                // EMU_SEED
  size_t tsan_sets = 2;                             // EMU_TSAN_SETS
  std::string skip_barrier;                         // EMU_SKIP_BARRIER: file:line
  std::string barriers_path;                        // EMU_BARRIERS
  bool eager = false;                               // EMU_STREAMS = lazy | eager
  int devices = 8;                                  // EMU_DEVICES: 0 is a machine without a GPU
  size_t memory_bytes = size_t{4} << 30;            // EMU_MEMORY: of each device
  int capability = 90;                              // EMU_CAPABILITY: 10 x major + minor
  int driver = 0;                                   // EMU_DRIVER: 13000; 0: as the runtime
  uint64_t fault_launch = 0;                        // EMU_FAULT_LAUNCH: 0: none
  uint64_t fault_wait = 0;                          // EMU_FAULT_WAIT
  int nccl_version = 0;                             // EMU_NCCL_VERSION: 21800; 0: as the header
  uint64_t nccl_seconds = 20;  // EMU_NCCL_SECONDS: that a rank waits for others
  uint64_t nccl_stuck = 0;     // EMU_NCCL_STUCK: the call that stays in progress; 0: none
  uint64_t engine = 1;         // EMU_ENGINE: what heuristics answer
  uint64_t library = 1;        // EMU_LIBRARY: version of the libraries
};
// Read once; an unknown value ends the program.
const Settings& settings();

// The choices of one launch: the same for the same seed and launch number.
class Random {
 public:
  explicit Random(uint64_t launch) : state_(settings().seed * 0x9e3779b97f4a7c15 + launch) {}

  // Puts 0 ... n-1 into the order of the schedule.
  template <class T>
  void arrange(std::vector<T>& order) {
    switch (settings().order) {
      case ScheduleOrder::kAscending:
        break;
      case ScheduleOrder::kDescending:
        if (order.front() < order.back()) std::reverse(order.begin(), order.end());
        break;
      case ScheduleOrder::kRandom:
        for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[below(i)]);
        break;
    }
  }
  // Whether a warp that could run on must wait for others now and then.
  bool interrupts() { return settings().order == ScheduleOrder::kRandom && below(8) == 0; }

 private:
  size_t below(size_t n) { return next() % n; }
  uint64_t next() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t state_;
};

}  // namespace emu
