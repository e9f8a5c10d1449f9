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

}  // namespace

ThreadPool::ThreadPool(int threads) {
  check(threads >= 1, "thread pool: {} threads, expected at least 1", threads);
  workers_.reserve(threads - 1);
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work_loop(); });
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
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
  uint32_t seen = 0;
  for (;;) {
    wait_while_equal(generation_, seen);
    ++seen;
    if (stop_.load(std::memory_order_acquire)) return;
    take_chunks(job_);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_one();
  }
}

void ThreadPool::run(int64_t n, void (*body)(void* self, int64_t chunk), void* self) {
  if (n <= 0) return;
  check(!running_.exchange(true, std::memory_order_acquire), "thread pool: a job inside a job");
  job_ = {body, self, n};
  next_chunk_.store(0, std::memory_order_relaxed);
  const int workers = static_cast<int>(workers_.size());
  if (workers > 0 && n > 1) {
    busy_.store(workers, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
  }
  take_chunks(job_);
  if (workers > 0 && n > 1) {
    for (int left = busy_.load(std::memory_order_acquire); left > 0;
         left = busy_.load(std::memory_order_acquire)) {
      wait_while_equal(busy_, left);
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

}  // namespace bigbigan
