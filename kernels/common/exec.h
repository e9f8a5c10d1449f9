// Where and how a launcher runs: the first argument of every kernel launcher.
//
// Each op is an overload set on these types: no registry, no macro, no virtual function. A
// forgotten backend is a link error. Execs are PODs passed by reference and copied freely.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <type_traits>

#include "kernels/common/view.h"

namespace bigbigan {

// Runs body(self, chunk) for every chunk in [0, n), in any order, on any thread, and returns when
// all have run. Each chunk runs exactly once. Implemented by ThreadPool
// (engine/util/thread_pool.h).
class ParallelRunner {
 public:
  virtual ~ParallelRunner() = default;
  virtual void run(int64_t n, void (*body)(void* self, int64_t chunk), void* self) = 0;
  [[nodiscard]] virtual int threads() const = 0;
};

// What a launcher does at least. CUDA launchers tell their sizes alone: they have the same names as
// those of the CPU, and do the same.
struct LaunchWork {
  int64_t bytes = 0;  // of its operands, once each way
  double flops = 0;   // of matrix products; multiply-adds count two
  // What a benchmark needs to run the launcher again; empty for most. Dies with the call.
  std::span<const int64_t> sizes = {};
};

// One that is read and written stands among the operands twice; empty ones count nothing.
inline LaunchWork moved(std::span<const ConstView> operands, double flops = 0) {
  LaunchWork work{.flops = flops};
  for (const ConstView& operand : operands) work.bytes += operand ? operand.bytes() : 0;
  return work;
}
inline LaunchWork moved(std::initializer_list<ConstView> operands, double flops = 0) {
  return moved(std::span(operands.begin(), operands.size()), flops);
}

// Told of every launcher that runs: for profiles, for predictions, and to run the expensive ones
// again by themselves. Calls nest when a launcher uses another.
class KernelObserver {
 public:
  virtual ~KernelObserver() = default;
  virtual void begin(std::string_view launcher, const LaunchWork& work) = 0;
  virtual void end() = 0;
};

// CPU execution. `parallel == nullptr` means the calling thread alone.
//
// Note [Fixed chunks]: results must not depend on the number of threads. Work is therefore cut into
// chunks whose bounds depend on the problem only, never on `threads()`, and partial results are
// combined in chunk order.
struct CpuExec {
  ParallelRunner* parallel = nullptr;
  KernelObserver* observer = nullptr;
  // Launchers of the training step tell the observer what they would do and return: nothing is at
  // their operands' addresses.
  bool plan_only = false;

  // body(chunk) for chunk in [0, n), in parallel.
  template <class Body>
  void for_chunks(int64_t n, const Body& body) const {
    if (n <= 0) return;
    if (parallel == nullptr || n == 1) {
      for (int64_t i = 0; i < n; ++i) body(i);
      return;
    }
    parallel->run(
        n, [](void* self, int64_t i) { (*static_cast<const Body*>(self))(i); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

  // body(begin, end) over [0, n) in fixed chunks of `grain` elements, in parallel.
  template <class Body>
  void for_range(int64_t n, int64_t grain, const Body& body) const {
    if (n <= 0) return;
    const int64_t chunks = (n + grain - 1) / grain;
    for_chunks(chunks, [&](int64_t c) {
      const int64_t begin = c * grain;
      body(begin, begin + grain < n ? begin + grain : n);
    });
  }
};

}  // namespace bigbigan

struct CUstream_st;  // what cudaStream_t points to

namespace bigbigan {

class LibraryPlans;

// CUDA execution: launches go to `stream` in order. Only a build with CUDA defines launchers for
// it.
struct CudaExec {
  CUstream_st* stream = nullptr;
  int sms = 1;  // multiprocessors of the device: how many blocks are worth launching
  LibraryPlans* plans = nullptr;  // of the device; launchers of NVIDIA's libraries need them
  KernelObserver* observer = nullptr;
};

// The first line of a launcher; it reports under the name of the function it stands in.
class Observed {
 public:
  template <class Exec>
  explicit Observed(const Exec& ex, LaunchWork work, std::initializer_list<int64_t> sizes = {},
                    const char* launcher = __builtin_FUNCTION())
      : observer_(ex.observer) {
    if (observer_ == nullptr) return;
    work.sizes = {sizes.begin(), sizes.size()};
    observer_->begin(launcher, work);
  }
  template <class Exec>
  explicit Observed(const Exec& ex, std::initializer_list<int64_t> sizes = {},
                    const char* launcher = __builtin_FUNCTION())
      : Observed(ex, LaunchWork(), sizes, launcher) {}
  ~Observed() {
    if (observer_ != nullptr) observer_->end();
  }
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;

 private:
  KernelObserver* observer_;
};

// Elements per chunk of a memory-bound element-wise loop: large enough to hide the hand-over, small
// enough that two threads share a 64k-element tensor.
inline constexpr int64_t kElementGrain = 16384;

}  // namespace bigbigan
