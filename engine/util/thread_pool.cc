#include "engine/util/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

// Iterations of the wait loop before sleeping: a few microseconds, the gap between two kernels of
// one step. Longer would steal the core from a busy neighbour (and, on shared machines, from
// ourselves).
constexpr int kSpins = 2000;

template <class T>
void wait_while_equal(const std::atomic<T>& value, T old) {
  for (int i = 0; i < kSpins; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  value.wait(old, std::memory_order_acquire);
}

// The parts of ThreadPool::state_.
constexpr uint32_t kOpen = 1, kStop = 2;
constexpr uint32_t kOneWorker = 4, kWorkers = 0x7ff * kOneWorker;
constexpr uint32_t kOneJob = 1u << 13, kJobs = ~(kOneJob - 1);

}  // namespace

ThreadPool::ThreadPool(int threads) {
  check(threads >= 1 && threads <= 1024, "thread pool: {} threads, expected 1 to 1024", threads);
  workers_.reserve(threads - 1);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work_loop(); });
}

ThreadPool::~ThreadPool() {
  state_.fetch_or(kStop, std::memory_order_release);
  state_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void ThreadPool::take_chunks(const Job& job) {
  for (;;) {
    const int64_t chunk = next_chunk_.fetch_add(1, std::memory_order_relaxed);
    if (chunk >= job.n) return;
    try {
      job.body(job.self, chunk);
    } catch (...) {
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }
}

void ThreadPool::work_loop() {
  uint32_t last_job = 0;
  for (;;) {
    uint32_t state = state_.load(std::memory_order_acquire);
    if ((state & kStop) != 0) return;
    if ((state & kOpen) == 0 || (state & kJobs) == last_job) {
      wait_while_equal(state_, state);
      continue;
    }
    if (!state_.compare_exchange_weak(state, state + kOneWorker, std::memory_order_acq_rel))
      continue;
    last_job = state & kJobs;
    take_chunks(job_);
    const uint32_t before = state_.fetch_sub(kOneWorker, std::memory_order_acq_rel);
    if ((before & (kOpen | kWorkers)) == kOneWorker) state_.notify_all();
  }
}

void ThreadPool::run(int64_t n, void (*body)(void* self, int64_t chunk), void* self) {
  if (n <= 0) return;
  check(!running_.exchange(true, std::memory_order_acquire), "thread pool: a job inside a job");
  job_ = {body, self, n};
  next_chunk_.store(0, std::memory_order_relaxed);
  const bool is_shared = !workers_.empty() && n > 1;
  if (is_shared) {
    state_.store((state_.load(std::memory_order_relaxed) & kJobs) + kOneJob + kOpen,
                 std::memory_order_release);
    state_.notify_all();
  }
  take_chunks(job_);
  if (is_shared) {
    uint32_t state = state_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
    while ((state & kWorkers) != 0) {
      wait_while_equal(state_, state);
      state = state_.load(std::memory_order_acquire);
    }
  }
  running_.store(false, std::memory_order_release);
  if (error_) {
    const std::exception_ptr error = std::exchange(error_, nullptr);
    std::rethrow_exception(error);
  }
}

int usable_cores() {
  int cores = 1;
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = std::max(1, CPU_COUNT(&set));
  // cgroup v2: "<quota> <period>" in microseconds, or "max <period>".
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (file >> quota >> period && quota != "max" && period > 0) {
    const double limit = std::ceil(std::strtod(quota.c_str(), nullptr) / period);
    if (limit >= 1 && limit < cores) cores = static_cast<int>(limit);
  }
  return cores;
}

int thread_count(int64_t option) { return option > 0 ? static_cast<int>(option) : usable_cores(); }

}  // namespace bigbigan
