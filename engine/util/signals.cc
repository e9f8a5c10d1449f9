#include "engine/util/signals.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr std::array<int, 3> kStop = {SIGTERM, SIGINT, SIGUSR1};
constexpr int kPatience = 3;  // the last request ends the process

// What a handler may touch; signal handlers have no other way to pass a value.
std::atomic<int> requests{0};
std::atomic<bool> installed{false};
std::atomic<bool> status{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

extern "C" void on_stop(int signal) {
  if (requests.fetch_add(1) + 1 >= kPatience) _exit(128 + signal);
}

extern "C" void on_status(int) { status = true; }

void set_handler(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  check(sigaction(signal, &action, nullptr) == 0, "signals: no handler for signal {}", signal);
}

}  // namespace

StopSignals::StopSignals() {
  check(!installed.exchange(true), "signals: installed twice");
  requests = 0;
  status = false;
  for (const int s : kStop) set_handler(s, on_stop);
  set_handler(SIGUSR2, on_status);
}

StopSignals::~StopSignals() {
  for (const int s : kStop) std::signal(s, SIG_DFL);
  std::signal(SIGUSR2, SIG_DFL);
  installed = false;
}

bool StopSignals::requested() { return requests.load() > 0; }

bool StopSignals::take_status_request() { return status.exchange(false); }

}  // namespace bigbigan
