// Streams and events. A stream is a queue whose work runs as late as CUDA allows: when the host
// waits for it (EMU_STREAMS = lazy), so that a missing event or wait meets data that is not there
// yet; or at once (eager).
#include <set>

#include "runtime.h"
#include "scheduler.h"
#include "settings.h"

namespace emu {
namespace {

std::set<Hidden<CUstream_st>>& streams() {
  static auto& all = *new std::set<Hidden<CUstream_st>>;
  return all;
}

CUstream_st& null_stream(int device) {
  static CUstream_st* all = [] {
    auto* made = new CUstream_st[static_cast<size_t>(settings().devices) + 1];
    for (int i = 0; i < settings().devices; ++i) {
      made[i].device = i;
      made[i].is_null = true;
    }
    return made;
  }();
  return all[device];
}

std::vector<CUstream_st*> streams_of(int device, bool blocking_only) {
  const std::lock_guard lock(tables());
  std::vector<CUstream_st*> found;
  for (const auto& stream : streams()) {
    if (stream->device == device && !(blocking_only && stream->non_blocking)) {
      found.push_back(stream.get());
    }
  }
  return found;
}

// Takes the next operation of a stream and runs it; false if there is none.
bool run_one(CUstream_st& stream) {
  const std::lock_guard running(stream.running);
  Op op;
  {
    const std::lock_guard lock(tables());
    if (stream.queue.empty()) return false;
    op = std::move(stream.queue.front());
    stream.queue.pop_front();
  }
  if (fault() == cudaSuccess) op();
  return true;
}

bool empty(CUstream_st& stream) {
  const std::lock_guard running(stream.running);
  const std::lock_guard lock(tables());
  return stream.queue.empty();
}

bool owned_by_caller(const CUstream_st& stream) {
  return stream.owner == std::this_thread::get_id();
}

// A capture that meets an error ends in cudaErrorStreamCaptureInvalidated.
cudaError_t spoil(const std::shared_ptr<Capture>& capture, cudaError_t status) {
  if (capture != nullptr) capture->invalid = true;
  return status;
}

bool blocking_stream_captures(int device) {
  for (const auto& stream : streams()) {
    if (stream->device == device && !stream->non_blocking && stream->capture != nullptr)
      return true;
  }
  return false;
}

std::shared_ptr<Record> record_of(cudaEvent_t event) {
  const std::lock_guard lock(tables());
  return event->record;
}

cudaError_t new_stream(cudaStream_t* stream, bool non_blocking) {
  if (settings().devices == 0) return cudaErrorNoDevice;
  if (fault() != cudaSuccess) return fault();
  *stream = new CUstream_st;
  (*stream)->device = current_device();
  (*stream)->non_blocking = non_blocking;
  const std::lock_guard lock(tables());
  streams().insert(*stream);
  return cudaSuccess;
}

}  // namespace

CUstream_st& resolve(cudaStream_t handle) {
  if (handle == cudaStreamPerThread) fail("cudaStreamPerThread is not modelled");
  if (handle == nullptr || handle == cudaStreamLegacy) return null_stream(current_device());
  return *handle;
}

void drain(CUstream_st& stream) {
  while (run_one(stream)) {
  }
}

void drain_device(int device, bool blocking_only) {
  for (CUstream_st* stream : streams_of(device, blocking_only)) drain(*stream);
}

void run_until(const Record& record) {
  while (!record.done && fault() == cudaSuccess) {
    if (!run_one(*record.stream.get()) && !record.done && fault() == cudaSuccess) {
      fail("an event's record was lost");
    }
  }
}

cudaError_t enqueue(cudaStream_t handle, Op op, const Work& work) {
  if (fault() != cudaSuccess) return fault();
  CUstream_st& stream = resolve(handle);
  {
    const std::lock_guard lock(tables());
    cudaError_t status = cudaSuccess;
    if (capture_op(stream, op, work, status)) return status;
    if (stream.is_null && blocking_stream_captures(stream.device)) {
      return cudaErrorStreamCaptureImplicit;
    }
    if (!stream.is_null) stream.queue.push_back(std::move(op));
  }
  if (stream.is_null) {
    drain_device(stream.device, true);
    const std::lock_guard running(stream.running);
    if (fault() == cudaSuccess) op();
  } else if (settings().eager) {
    drain(stream);
  }
  return cudaSuccess;
}

}  // namespace emu

using namespace emu;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return answer(new_stream(stream, false)); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if ((flags & ~cudaStreamNonBlocking) != 0) return answer(cudaErrorInvalidValue);
  return answer(new_stream(stream, flags == cudaStreamNonBlocking));
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream == nullptr) return answer(cudaErrorInvalidResourceHandle);
  drain(*stream);
  {
    const std::lock_guard lock(tables());
    spoil(stream->capture, cudaSuccess);
    streams().erase(stream);
  }
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  CUstream_st& stream = resolve(handle);
  {
    const std::lock_guard lock(tables());
    if (stream.capture) return answer(spoil(stream.capture, cudaErrorStreamCaptureUnsupported));
  }
  if (forbidden_by_capture()) return answer(cudaErrorStreamCaptureUnsupported);
  if (stream.is_null) drain_device(stream.device, true);
  drain(stream);
  return answer(fault_at_wait());
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  CUstream_st& stream = resolve(handle);
  {
    const std::lock_guard lock(tables());
    if (stream.capture) return answer(spoil(stream.capture, cudaErrorStreamCaptureUnsupported));
  }
  if (forbidden_by_capture()) return answer(cudaErrorStreamCaptureUnsupported);
  if (stream.is_null) return cudaSuccess;
  // Progress, or a loop that polls would never end. Another thread, a watchdog, only looks.
  if (owned_by_caller(stream)) run_one(stream);
  return empty(stream) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  CUstream_st& stream = resolve(handle);
  const auto record = record_of(event);
  if (record == nullptr) return cudaSuccess;
  {
    const std::lock_guard lock(tables());
    if (record->capture != nullptr) {
      const auto& capture = record->capture;
      if (capture->ended) return answer(spoil(stream.capture, cudaErrorCapturedEvent));
      if (stream.is_null) return answer(spoil(capture, cudaErrorStreamCaptureImplicit));
      if (stream.capture != nullptr && stream.capture != capture) {
        spoil(capture, cudaSuccess);
        return answer(spoil(stream.capture, cudaErrorStreamCaptureMerge));
      }
      if (stream.capture == nullptr) {
        stream.capture = capture;
        stream.capture_tail.clear();
        capture->joined.push_back(&stream);
      }
      auto& tail = stream.capture_tail;
      tail.insert(tail.end(), record->after.begin(), record->after.end());
      return cudaSuccess;
    }
    // The replayed graph could not wait for something outside it.
    if (stream.capture) return answer(spoil(stream.capture, cudaErrorStreamCaptureIsolation));
  }
  return answer(enqueue(handle, [record] { run_until(*record); }));
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  if ((flags & ~(cudaEventBlockingSync | cudaEventDisableTiming)) != 0) {
    return answer(cudaErrorInvalidValue);
  }
  if (settings().devices == 0) return answer(cudaErrorNoDevice);
  if (fault() != cudaSuccess) return answer(fault());
  *event = new CUevent_st;
  (*event)->device = current_device();
  (*event)->timing = (flags & cudaEventDisableTiming) == 0;
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }

// Nothing to drain: what still mentions the event shares its record.
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  CUstream_st& stream = resolve(handle);
  if (stream.device != event->device) return answer(cudaErrorInvalidResourceHandle);
  const auto record = std::make_shared<Record>();
  record->stream = &stream;
  {
    const std::lock_guard lock(tables());
    event->record = record;
    if (stream.capture != nullptr) {
      record->capture = stream.capture;
      record->after = stream.capture_tail;
      return cudaSuccess;
    }
  }
  return answer(enqueue(handle, [record] {
    record->time = std::chrono::steady_clock::now();
    record->done = true;
  }));
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (forbidden_by_capture()) return answer(cudaErrorStreamCaptureUnsupported);
  const auto record = record_of(event);
  if (record == nullptr || record->done) return cudaSuccess;
  if (record->capture != nullptr) return answer(cudaErrorCapturedEvent);
  if (owned_by_caller(*record->stream.get())) run_one(*record->stream.get());
  return record->done ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (forbidden_by_capture()) return answer(cudaErrorStreamCaptureUnsupported);
  const auto record = record_of(event);
  if (record == nullptr) return cudaSuccess;
  if (record->capture != nullptr) return answer(cudaErrorCapturedEvent);
  run_until(*record);
  return answer(fault_at_wait());
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  const auto first = record_of(start), last = record_of(end);
  if (!start->timing || !end->timing || first == nullptr || last == nullptr) {
    return answer(cudaErrorInvalidResourceHandle);
  }
  if (!first->done || !last->done) return answer(cudaErrorNotReady);
  *ms = std::chrono::duration<float, std::milli>(last->time - first->time).count();
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  if (forbidden_by_capture()) return answer(cudaErrorStreamCaptureUnsupported);
  drain_device(current_device(), false);
  return answer(fault_at_wait());
}

}  // extern "C"
