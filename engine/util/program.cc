#include "engine/util/program.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <new>

#include "kernels/common/error.h"

namespace bigbigan {

int run_program(std::string_view name, const std::function<int()>& body) {
  int code = 0;
  const auto report = [&](ExitCode exit_code, const char* what) {
    fmt::print(stderr, "{}: error: {}\n", name, what);
    code = static_cast<int>(exit_code);
  };
  try {
    code = body();
  } catch (const Error& e) {
    report(e.code(), e.what());
  } catch (const std::bad_alloc&) {
    report(ExitCode::kSystem, "out of memory");
  } catch (const std::exception& e) {
    report(ExitCode::kInternal, e.what());
  }
  if (std::fflush(stdout) != 0 && code == 0) report(ExitCode::kWriteFailed, "standard output could not be written");
  return code;
}

ProgressLine::ProgressLine() : terminal_(isatty(STDERR_FILENO) == 1) {}

void ProgressLine::update(const std::string& text) {
  if (terminal_) {
    fmt::print(stderr, "\r\x1b[K{}", text);
    open_ = true;
  } else {
    fmt::print(stderr, "{}\n", text);
  }
  std::fflush(stderr);
}

void ProgressLine::finish() {
  if (open_) fmt::print(stderr, "\n");
  open_ = false;
}

}  // namespace bigbigan
