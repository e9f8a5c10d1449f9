#include "engine/util/program.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <system_error>

#include "engine/util/text.h"

namespace bigbigan {
namespace {

// Without exceptions, unlike fmt::print.
void put(std::FILE* file, const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), file);
  std::fflush(file);
}

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const Error& e) {
    return {e.code(), e.what()};
  } catch (const std::bad_alloc&) {
    return {ExitCode::kSystem, "out of memory"};
  } catch (const std::system_error& e) {  // no thread, for one
    return {ExitCode::kSystem, e.what()};
  } catch (const std::exception& e) {
    return {ExitCode::kInternal, e.what()};
  }
}

int run_program(std::string_view name, const std::function<int()>& body) {
  for (const int signal : {SIGPIPE, SIGXFSZ}) std::signal(signal, SIG_IGN);
  int code = 0;
  const auto report = [&](const Failure& failure) {
    note(fmt::format("{}: error: {}", name, failure.what));
    code = static_cast<int>(failure.code);
  };
  try {
    code = body();
  } catch (const std::system_error&) {  // fmt::print throws it for a failed write, too
    if (std::ferror(stdout) == 0) report(current_failure());
  } catch (const std::exception&) {
    report(current_failure());
  }
  const bool is_written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (!is_written && code == 0) {
    report({ExitCode::kWriteFailed, "standard output could not be written"});
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
