#include "engine/util/program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <system_error>

#include "engine/util/text.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

// Without exceptions, unlike fmt::print.
void put(std::FILE* file, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

}  // namespace

int run_program(std::string_view name, const std::function<int()>& body) {
  for (const int signal : {SIGPIPE, SIGXFSZ}) std::signal(signal, SIG_IGN);
  int code = 0;
  const auto report = [&](ExitCode exit_code, std::string_view what) {
    note(fmt::format("{}: error: {}", name, what));
    code = static_cast<int>(exit_code);
  };
  try {
    code = body();
  } catch (const Error& e) {
    report(e.code(), e.what());
  } catch (const std::bad_alloc&) {
    report(ExitCode::kSystem, "out of memory");
  } catch (const std::system_error& e) {  // fmt::print throws it for a failed write, too
    if (std::ferror(stdout) == 0) report(ExitCode::kSystem, e.what());
  } catch (const std::exception& e) {
    report(ExitCode::kInternal, e.what());
  }
  const bool is_written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (!is_written && code == 0) {
    report(ExitCode::kWriteFailed, "standard output could not be written");
  }
  return code;
}

void note(std::string_view line) { put(stderr, printable(line) + "\n"); }

void announce(std::string_view line) { put(stdout, printable(line) + "\n"); }

ProgressLine::ProgressLine() : terminal_(isatty(STDERR_FILENO) == 1) {}

void ProgressLine::update(const std::string& text) {
  if (!terminal_) return note(text);
  put(stderr, "\r\x1b[K" + printable(text));
  open_ = true;
}

void ProgressLine::finish() {
  if (open_) put(stderr, "\n");
  open_ = false;
}

}  // namespace bigbigan
