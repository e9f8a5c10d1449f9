#include "tests/e2e/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

namespace bigbigan {
namespace {

constexpr auto kPause = std::chrono::milliseconds(3);
constexpr int kMaxPauses = 100000;  // five minutes

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (const std::string& text : texts) list.push_back(const_cast<char*>(text.c_str()));
  list.push_back(nullptr);
  return list;
}

// In the child: becomes the program, with its output in files.
[[noreturn]] void become(const std::vector<char*>& arguments, const std::vector<char*>& environment,
                         const std::string& out, const std::string& err) {
  for (const auto& [path, target] :
       {std::pair(&out, STDOUT_FILENO), std::pair(&err, STDERR_FILENO)}) {
    const int fd = ::open(path->c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ::dup2(fd, target);
    ::close(fd);
  }
  ::execve(arguments[0], arguments.data(), environment.data());
  ::_exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment) {
  std::vector<std::string> all = environment;
  for (char** entry = environ; *entry != nullptr; ++entry) all.emplace_back(*entry);
  const auto argument_list = pointers(arguments), environment_list = pointers(all);
  const std::string out = folder_ / "out", err = folder_ / "err";
  write_raw(out, "");
  write_raw(err, "");
  pid_ = ::fork();
  REQUIRE(pid_ >= 0);
  if (pid_ == 0) become(argument_list, environment_list, out, err);
}

Process::~Process() {
  if (has_ended()) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, &status_, 0);
}

void Process::send(int signal) const { REQUIRE(::kill(pid_, signal) == 0); }

bool Process::has_ended() {
  if (!ended_) ended_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
  return ended_;
}

void Process::wait_for(const std::string& text) {
  for (int i = 0; i < kMaxPauses; ++i) {
    const bool is_last_look = has_ended();
    const std::string all = read_raw(folder_ / "out") + read_raw(folder_ / "err");
    if (all.find(text) != std::string::npos) return;
    INFO(all);
    REQUIRE_FALSE(is_last_look);
    std::this_thread::sleep_for(kPause);
  }
  FAIL("no " << text << " after minutes");
}

ProcessResult Process::wait() {
  for (int i = 0; i < kMaxPauses && !has_ended(); ++i) std::this_thread::sleep_for(kPause);
  ProcessResult result;
  result.out = read_raw(folder_ / "out");
  result.err = read_raw(folder_ / "err");
  INFO(result.err);
  REQUIRE(ended_);
  if (WIFEXITED(status_)) result.code = WEXITSTATUS(status_);
  if (WIFSIGNALED(status_)) result.signal = WTERMSIG(status_);
  return result;
}

ProcessResult run_process(const std::vector<std::string>& arguments,
                          const std::vector<std::string>& environment) {
  return Process(arguments, environment).wait();
}

std::vector<std::string> mpirun() {
  return {"/usr/bin/env",
          "mpirun",
          "--allow-run-as-root",
          "--oversubscribe",
          "--mca",
          "mpi_yield_when_idle",
          "1",
          "--mca",
          "btl",
          "self,vader"};
}

}  // namespace bigbigan
