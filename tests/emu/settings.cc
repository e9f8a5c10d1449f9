#include "settings.h"

#include <cerrno>
#include <cstdlib>
#include <map>

#include "scheduler.h"

namespace emu {
namespace {

std::string text(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

uint64_t number(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  if (value == nullptr) return otherwise;
  char* end = nullptr;
  errno = 0;
  const uint64_t parsed = std::strtoull(value, &end, 10);
  if (end == value || *end != 0 || errno != 0) {
    fail(std::string(name) + "=" + value + ": expected a number");
  }
  return parsed;
}

template <class T>
T choice(const char* name, const std::map<std::string, T>& choices, const char* otherwise) {
  const auto found = choices.find(text(name, otherwise));
  if (found == choices.end()) fail(std::string(name) + "=" + text(name, "") + ": unknown");
  return found->second;
}

}  // namespace

const Settings& settings() {
  static const Settings& once = *new Settings{
      .order = choice<ScheduleOrder>("EMU_ORDER",
                                     {{"ascending", ScheduleOrder::kAscending},
                                      {"descending", ScheduleOrder::kDescending},
                                      {"random", ScheduleOrder::kRandom}},
                                     "ascending"),
      .seed = number("EMU_SEED", 1),
      .tsan_sets = std::max<size_t>(1, number("EMU_TSAN_SETS", 2)),
      .skip_barrier = text("EMU_SKIP_BARRIER", ""),
      .barriers_path = text("EMU_BARRIERS", ""),
      .eager = choice<bool>("EMU_STREAMS", {{"lazy", false}, {"eager", true}}, "lazy"),
      .devices = static_cast<int>(number("EMU_DEVICES", 8)),
      .memory_bytes = number("EMU_MEMORY", size_t{4} << 30),
      .capability = static_cast<int>(number("EMU_CAPABILITY", 90)),
      .driver = static_cast<int>(number("EMU_DRIVER", 0)),
      .fault_launch = number("EMU_FAULT_LAUNCH", 0),
      .fault_wait = number("EMU_FAULT_WAIT", 0),
      .nccl_version = static_cast<int>(number("EMU_NCCL_VERSION", 0)),
      .nccl_seconds = number("EMU_NCCL_SECONDS", 20),
      .nccl_stuck = number("EMU_NCCL_STUCK", 0),
      .engine = number("EMU_ENGINE", 1),
      .library = number("EMU_LIBRARY", 1)};
  return once;
}

}  // namespace emu
