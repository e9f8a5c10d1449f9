// The frame of every program: errors to exit codes, a progress line, checked standard output.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "kernels/common/error.h"

namespace bigbigan {

// The exception that is being handled, as a program reports it.
struct Failure {
  ExitCode code;
  std::string what;
};
Failure current_failure();

// Runs `body`, which returns an exit code; an Error becomes "<name>: error: ..." on standard error
// and its own code. Standard output is flushed and checked before 0 is returned. SIGPIPE and
// SIGXFSZ are ignored, so that the failed write reports itself.
int run_program(std::string_view name, const std::function<int()>& body);

// A line on standard error. A closed terminal or a full disk under the log ends nothing.
void note(std::string_view line);
// A line on standard output, at once. Failures show in the exit code at the end (run_program).
void announce(std::string_view line);

// One line that is rewritten in place on a terminal; elsewhere each update is a line of its own.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { finish(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void update(const std::string& text);
  // Whether lines are rewritten: then frequent updates do no harm.
  [[nodiscard]] bool on_terminal() const { return terminal_; }
  // Leaves what is shown and goes to the next line.
  void finish();

 private:
  bool terminal_;
  bool open_ = false;
};

}  // namespace bigbigan
