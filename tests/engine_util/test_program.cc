#include <fcntl.h>
#include <fmt/core.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <functional>
#include <new>

#include "engine/util/fault.h"
#include "engine/util/program.h"
#include "engine/util/signals.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;

namespace {

struct Outcome {
  int code = -1, signal = 0;
  std::string error_text;
};

// What becomes of a process that runs `body`; its standard output goes to `out`.
Outcome outcome(const std::function<int()>& body, const char* out = "/dev/null") {
  const ScratchFolder scratch;
  const auto log = scratch / "stderr";
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(::open(out, O_WRONLY), STDOUT_FILENO);
    ::dup2(::open(log.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    ::_exit(body());
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  Outcome result;
  if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  result.error_text = read_raw(log);
  return result;
}

Outcome outcome_of_program(const std::function<int()>& body, const char* out = "/dev/null") {
  return outcome([&] { return run_program("prog", body); }, out);
}

}  // namespace

TEST_CASE("program: a return value and every kind of exception become an exit code") {
  REQUIRE(outcome_of_program([] { return 0; }).code == 0);
  REQUIRE(outcome_of_program([] { return 75; }).code == 75);
  const Outcome bad =
      outcome_of_program([]() -> int { fail(ExitCode::kBadData, "file\x1b[1m: bad"); });
  REQUIRE(bad.code == 65);
  REQUIRE(bad.error_text == "prog: error: file\\x1b[1m: bad\n");
  REQUIRE(outcome_of_program([]() -> int { throw std::bad_alloc(); }).code == 71);
  REQUIRE(outcome_of_program([]() -> int { throw std::system_error(); }).code == 71);
  REQUIRE(outcome_of_program([]() -> int { throw std::runtime_error("x"); }).code == 70);
}

TEST_CASE("program: results that cannot be written are a failure, a lost log is not") {
  const std::function<int()> one_line = [] {
    announce("result");
    return 0;
  };
  const std::function<int()> much = [] {
    for (int i = 0; i < 10000; ++i) fmt::print("many results\n");
    return 0;
  };
  for (const auto& body : {one_line, much}) {
    REQUIRE(outcome_of_program(body).code == 0);
    const Outcome full = outcome_of_program(body, "/dev/full");
    REQUIRE(full.code == 74);
    REQUIRE_THAT(full.error_text, Catch::Contains("standard output could not be written"));
  }
  // An error of its own comes first.
  REQUIRE(outcome_of_program(
              []() -> int {
                announce("result");
                fail(ExitCode::kBadData, "x");
              },
              "/dev/full")
              .code == 65);
  REQUIRE(outcome_of_program([] {
            ::dup2(::open("/dev/full", O_WRONLY), STDERR_FILENO);
            note("a line nobody sees");
            ProgressLine().update("nor this");
            return 0;
          }).code == 0);
}

TEST_CASE("program: a closed pipe is a failed write, not the end of the process") {
  const Outcome closed = outcome_of_program([] {
    int ends[2];
    if (::pipe(ends) != 0) return 1;
    ::close(ends[0]);
    ::dup2(ends[1], STDOUT_FILENO);
    announce("result");
    return 0;
  });
  REQUIRE(closed.signal == 0);
  REQUIRE(closed.code == 74);
}

TEST_CASE("signals: a request is noted, the third ends the process") {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) {
    const auto body = [signal](int times) {
      const StopSignals signals;
      if (StopSignals::requested()) return 1;
      for (int i = 0; i < times; ++i) ::raise(signal);
      return StopSignals::requested() ? 0 : 2;
    };
    REQUIRE(outcome([&] { return body(0); }).code == 2);
    REQUIRE(outcome([&] { return body(1); }).code == 0);
    REQUIRE(outcome([&] { return body(2); }).code == 0);
    REQUIRE(outcome([&] { return body(3); }).code == 128 + signal);
  }
}

TEST_CASE("signals: SIGUSR2 asks for the status once per signal") {
  const auto body = [] {
    const StopSignals signals;
    if (StopSignals::take_status_request()) return 1;
    ::raise(SIGUSR2);
    if (StopSignals::requested() || !StopSignals::take_status_request()) return 2;
    return StopSignals::take_status_request() ? 3 : 0;
  };
  REQUIRE(outcome(body).code == 0);
}

TEST_CASE("signals: afterwards they act as before") {
  const auto body = [] {
    { const StopSignals signals; }
    ::raise(SIGTERM);
    return 0;
  };
  REQUIRE(outcome(body).signal == SIGTERM);
}

TEST_CASE("fault: nothing without the variable, and what it says otherwise") {
  const Fault none;
  REQUIRE_FALSE(none.makes_nan(0));
  const Fault fault("nan@0:5:2", 0);
  for (int64_t step = 0; step < 10; ++step) {
    REQUIRE(fault.makes_nan(step) == (step == 5 || step == 6));
  }
  REQUIRE_FALSE(Fault("nan@1:5", 0).makes_nan(5));
  REQUIRE(Fault("nan@1:5", 1).makes_nan(5));
  REQUIRE_FALSE(Fault("kill@0:5", 0).makes_nan(5));
}

TEST_CASE("fault: kill acts at its step and point only") {
  const auto body = [](const char* text, int64_t step, int64_t point) {
    return outcome([=] {
             Fault(text, 0).strike(step, point);
             return 0;
           })
        .signal;
  };
  REQUIRE(body("kill@0:3", 3, 1) == SIGKILL);
  REQUIRE(body("kill@0:3:2", 3, 2) == SIGKILL);
  REQUIRE(body("kill@0:3:2", 3, 1) == 0);
  REQUIRE(body("kill@0:3", 4, 1) == 0);
  REQUIRE(body("kill@1:3", 3, 1) == 0);
}

TEST_CASE("fault: a full disk stops files from growing, for a while") {
  const ScratchFolder scratch;
  const std::string path = scratch / "file";
  const auto body = [&](int64_t step) {
    return outcome_of_program([&] {
      const Fault fault("enospc@0:2:2", 0);
      for (int64_t s = 1; s <= step; ++s) fault.maybe_fill_disk(s);
      const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      const std::string block(30000, 'x');
      size_t written = 0;
      for (ssize_t n = 0; (n = ::write(fd, block.data(), block.size() - written)) > 0;)
        written += n;
      return written == block.size() ? 0 : 74;
    });
  };
  REQUIRE(body(1).code == 0);
  REQUIRE(body(2).code == 74);
  REQUIRE(body(3).code == 74);
  REQUIRE(body(4).code == 0);
}

TEST_CASE("fault: anything else is refused") {
  for (const char* text :
       {"", "nan", "nan@0", "nan@0:", "nan@:1", "nan@x:1", "nan@0:1:0", "nan@0:1:x", "nan@0:-1",
        "oom@0:1", "nan@0:1:2:3", "NAN@0:1", "nan@0:99999999999999999999"}) {
    INFO(text);
    require_error([&] { Fault(text, 0); }, ExitCode::kConfig,
                  {"BIGBIGAN_FAULT=", "kind@rank:step"});
  }
}
