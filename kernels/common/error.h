// The one exception type of the project, and the exit codes its programs end with.
#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace bigbigan {

// Exit codes of every program. All lie below 126: shells add 128 for signals, MPI_Abort takes
// codes modulo 256.
enum class ExitCode : int {
  kOk = 0,
  kUsage = 64,         // bad command line
  kBadData = 65,       // bad input data
  kNoInput = 66,       // input not found or unreadable
  kInternal = 70,      // internal error, collective mismatch
  kSystem = 71,        // CUDA, OS or out of memory
  kCannotCreate = 73,  // cannot create, run directory locked
  kWriteFailed = 74,   // checkpoint or output could not be written
  kStopped = 75,       // stopped on request, resumable
  kPeerLost = 76,      // peer lost or collective timed out
  kConfig = 78,        // configuration or resume mismatch
  kNumerical = 79,     // numerical failure, replica drift, collapse
  kNoCheckpoint = 80,  // checkpoints exist, none loads
};

// Thrown for everything a caller or user can get wrong and for every failed system call. The
// message says what, where, found, expected, and what to do; the code becomes the exit code of the
// program.
class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  [[nodiscard]] ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

// Throws Error{code} with a formatted message.
template <class... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error{kInternal} unless `condition` holds. Always on: use it for contracts between our own
// parts (shapes, dtypes, call order).
template <class... Args>
void check(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) fail(ExitCode::kInternal, format, std::forward<Args>(args)...);
}

}  // namespace bigbigan
