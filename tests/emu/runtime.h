// The emulated runtime's own structures, shared by cudart.cc (devices, memory, launches),
// streams.cc and graphs.cc.
#pragma once

#include <cuda_runtime_api.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "scheduler.h"

// An operation, what it is, and the nodes it comes after.
struct CUgraphNode_st {
  std::function<void()> op;
  emu::Work work;
  std::vector<size_t> after;
};

namespace emu {

using Op = std::function<void()>;

// A pointer that LeakSanitizer does not follow, so that what only the emulator's
// tables know counts as leaked.
template <class T>
class Hidden {
 public:
  Hidden(T* pointer = nullptr)
      : bits_(~reinterpret_cast<uintptr_t>(pointer)) {}  // NOLINT: implicit
  [[nodiscard]] T* get() const { return reinterpret_cast<T*>(~bits_); }
  T* operator->() const { return get(); }
  auto operator<=>(const Hidden&) const = default;

 private:
  uintptr_t bits_;
};

// What a graph replays.
using Node = CUgraphNode_st;

struct Capture {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id owner;
  Hidden<CUstream_st> origin;
  std::vector<Node> nodes;
  std::vector<Hidden<CUstream_st>> joined;  // the streams captured besides the origin
  bool invalid = false;
  bool ended = false;
};

// One record of an event. The event keeps the latest; waits keep the one that was
// current when they were made.
struct Record {
  Hidden<CUstream_st> stream;
  std::atomic<bool> done = false;
  std::chrono::steady_clock::time_point time;
  std::shared_ptr<Capture> capture;  // set: recorded while capturing, after these nodes
  std::vector<size_t> after;
};

// Guards every table, queue and capture; never held while an operation runs.
std::mutex& tables();

// The calling thread's device, and its last error: returns `status`, remembered for
// cudaGetLastError unless it is success.
int current_device();
cudaError_t answer(cudaError_t status);

// A fault that stays (EMU_FAULT_...), as an illegal address in a kernel does: from it on no work
// runs, and every call that could tell returns fault().
cudaError_t fault();
// A kernel begins, or the host has waited: one of them may be the fault. True, or its status, as
// above.
bool fault_at_launch();
cudaError_t fault_at_wait();

// True, and all captures concerned become invalid, if a capture forbids calls
// that allocate or wait.
bool forbidden_by_capture();

// `op` becomes a node if `stream` is capturing; false otherwise. Needs tables() locked.
bool capture_op(CUstream_st& stream, const Op& op, const Work& work, cudaError_t& status);

// Whether the bytes lie in one live allocation of device memory.
bool on_device(const void* address, size_t bytes);

CUstream_st& resolve(cudaStream_t handle);
// Runs everything queued on the streams of a device, or only on those that the
// null stream waits for.
void drain_device(int device, bool blocking_only);
void drain(CUstream_st& stream);
// Runs `record`'s stream until the record is done.
void run_until(const Record& record);

}  // namespace emu

struct CUstream_st {
  int device = 0;
  bool is_null = false;
  bool non_blocking = false;
  std::thread::id owner = std::this_thread::get_id();
  std::recursive_mutex running;  // one operation at a time
  std::deque<emu::Op> queue;
  std::shared_ptr<emu::Capture> capture;
  std::vector<size_t> capture_tail;  // the nodes that the next one comes after
};

struct CUevent_st {
  int device = 0;
  bool timing = true;
  std::shared_ptr<emu::Record> record;  // none: never recorded, counts as done
};

struct CUgraph_st {
  std::vector<emu::Node> nodes;
};

struct CUgraphExec_st {
  std::shared_ptr<const std::vector<emu::Node>> nodes;  // launches that wait in a queue keep it
};
