// A fixed set of worker threads behind ParallelRunner.
//
// Chunks are handed out dynamically through one atomic counter, so a thread that was preempted
// delays only the chunk it holds, and a worker that wakes up late delays nobody: a job waits for
// the workers that joined it, not for those still asleep. Nobody spins for long: waiting is a short
// bounded spin, then a futex wait. The calling thread works too. One job at a time: `run` inside a
// chunk, or on two threads at once, throws Error{kInternal}.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/common/exec.h"

namespace bigbigan {

class ThreadPool final : public ParallelRunner {
 public:
  // `threads`, from 1 to 1024, counts the caller: ThreadPool(1) starts no thread.
  explicit ThreadPool(int threads);
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Rethrows the first exception that a chunk threw, after all chunks have ended.
  void run(int64_t n, void (*body)(void* self, int64_t chunk), void* self) override;
  [[nodiscard]] int threads() const override { return static_cast<int>(workers_.size()) + 1; }

 private:
  struct Job {
    void (*body)(void*, int64_t) = nullptr;
    void* self = nullptr;
    int64_t n = 0;
  };
  void work_loop();
  void take_chunks(const Job& job);

  std::vector<std::thread> workers_;
  Job job_;
  std::atomic<int64_t> next_chunk_{0};
  // Whether the job may be joined, whether to stop, how many workers are in the job, and its
  // number.
  std::atomic<uint32_t> state_{0};
  std::atomic<bool> running_{false};
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

// Cores this process may use: the smaller of its CPU affinity and its cgroup quota, at least 1.
int usable_cores();
// Threads for the value of an option: 0 is the cores this process may use.
int thread_count(int64_t option);

}  // namespace bigbigan
