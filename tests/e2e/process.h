// A program started by a test, watched from outside.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "tests/engine_io/scratch.h"

namespace bigbigan {

struct ProcessResult {
  int code = -1;   // exit code, or -1
  int signal = 0;  // the signal that ended it, or 0
  std::string out, err;
};

class Process {
 public:
  // `arguments`: program and arguments; `environment`: "NAME=value" beside what is set already.
  explicit Process(const std::vector<std::string>& arguments,
                   const std::vector<std::string>& environment = {});
  ~Process();  // kills it when it still runs
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] pid_t pid() const { return pid_; }
  void send(int signal) const;
  // Waits until standard output or error holds `text`; fails the test when the program ends or
  // minutes pass before.
  void wait_for(const std::string& text);
  // Waits for the end; fails the test after minutes.
  ProcessResult wait();

 private:
  bool has_ended();

  ScratchFolder folder_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

ProcessResult run_process(const std::vector<std::string>& arguments,
                          const std::vector<std::string>& environment = {});

// `mpirun` with options that suit any number of cores; "-np", "4" and a program follow.
std::vector<std::string> mpirun();

}  // namespace bigbigan
