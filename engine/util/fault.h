// Faults on demand, for tests of the whole program: BIGBIGAN_FAULT=kind@rank:step[:n].
//
//   nan     the first gradient of D is NaN in `n` steps from `step` on
//   kill segv stop loop throw memory exit exit3
//           end or stall this process at point `n` of the step: 1 before it, 2 between its updates
//           (where these are launched one by one), 3 before its checkpoint, 4 after the checkpoint
//           and before older ones are removed. SIGKILL, SIGSEGV, SIGSTOP, an endless loop, an
//           Error, a request for memory under an RLIMIT_AS that leaves none, _exit(0), _exit(3)
//   drift   one bit of G's weights is another one before the step
//   skip    this rank leaves out the collective before the step that follows `step`
//   enospc  from `step` on for `n` steps, no file grows beyond 16 KiB: a small RLIMIT_FSIZE stands
//           for a full disk
//
// `n` is 1 unless given.
#pragma once

#include <cstdint>
#include <string_view>

namespace bigbigan {

class Fault {
 public:
  // No fault, or the one in the environment, which the log then announces. Throws Error{kConfig}.
  static Fault from_environment(int rank);
  // Of the variable's text; nothing happens on other ranks.
  Fault(std::string_view text, int rank);
  Fault() = default;

  [[nodiscard]] bool makes_nan(int64_t step) const { return kind_ == Kind::kNan && covers(step); }
  [[nodiscard]] bool flips_bit(int64_t step) const { return kind_ == Kind::kDrift && covers(step); }
  [[nodiscard]] bool skips_collective(int64_t step) const {
    return kind_ == Kind::kSkip && covers(step);
  }
  // Ends or stalls the process where the fault says so.
  void strike(int64_t step, int64_t point) const;
  void maybe_fill_disk(int64_t step) const;

 private:
  enum class Kind : uint8_t {
    kNone,
    kNan,
    kEnospc,
    kDrift,
    kSkip,
    kKill,
    kSegv,
    kStop,
    kLoop,
    kThrow,
    kMemory,
    kExit,
    kExit3
  };
  static Kind kind_of(std::string_view name);
  [[nodiscard]] bool covers(int64_t step) const { return first_ <= step && step < first_ + n_; }

  Kind kind_ = Kind::kNone;
  int64_t first_ = 0, n_ = 1;
};

}  // namespace bigbigan
