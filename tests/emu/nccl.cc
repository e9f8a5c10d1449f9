// NCCL between the host threads of one process, one rank each, on emulated devices. Defined against
// NVIDIA's prototypes.
//
// A collective takes its place in its stream. When the stream comes to it, the rank leaves a copy
// of what it brings, waits for all others, and computes its result from the copies in rank order.
// Like those of NCCL, the collectives of one communicator run in the order of their calls, whatever
// their streams; and those of one rank alone are copies, in place nothing (ncclLaunchOneRank in
// NCCL's src/device/onerank.cu).
#include <nccl.h>
#include <unistd.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "nccl_world.h"
#include "runtime.h"
#include "scheduler.h"
#include "settings.h"

// One rank's handle.
struct ncclComm {
  std::shared_ptr<emu::World> world;
  size_t rank = 0;
  uint64_t calls = 0;  // of collectives
  bool is_stuck = false;
  // The last collective: its stream, and an event behind it.
  CUstream_st* stream = nullptr;
  cudaEvent_t event = nullptr;
  bool was_captured = false;
  std::weak_ptr<emu::Capture> capture;
};

namespace emu {
namespace {

std::map<std::string, std::weak_ptr<World>>& worlds() {
  static auto& all = *new std::map<std::string, std::weak_ptr<World>>;
  return all;
}

// What ncclGetLastError says where there is no communicator that has broken up.
std::string& last_error() {
  static thread_local std::string text;
  return text;
}
ncclResult_t refuse(ncclResult_t status, const std::string& text) {
  last_error() = text;
  return status;
}

// What follows in `stream` runs behind the last collective. What was recorded and what was not are
// ordered by the launch of the recording.
cudaError_t follow(const ncclComm& comm, CUstream_st& stream,
                   const std::shared_ptr<Capture>& capture) {
  if (comm.stream == nullptr || comm.stream == &stream) return cudaSuccess;
  if (comm.was_captured != (capture != nullptr) || comm.capture.lock() != capture) {
    return cudaSuccess;
  }
  return cudaStreamWaitEvent(&stream, comm.event, 0);
}

ncclResult_t submit(ncclComm_t comm, cudaStream_t handle, const Call& call) {
  if (comm == nullptr) return refuse(ncclInvalidArgument, "no communicator");
  World& world = *comm->world;
  const size_t size = world.members.size();
  CUstream_st& stream = resolve(handle);
  {
    const std::lock_guard lock(world.mutex);
    if (world.status != ncclSuccess) return world.status;
    if (world.joined < size) return refuse(ncclInvalidUsage, "the communicator is being set up");
    if (stream.device != world.members[comm->rank].device) {
      return refuse(ncclInvalidUsage, "a stream of another device");
    }
  }
  if (call.root < 0 || static_cast<size_t>(call.root) >= size) {
    return refuse(ncclInvalidArgument, call.text() + ": no such rank");
  }
  if (!on_device(call.send, call.sent_bytes(size)) ||
      !on_device(call.receive, call.received_bytes(size))) {
    return refuse(ncclInvalidArgument, call.text() + ": not in device memory");
  }
  if (++comm->calls == settings().nccl_stuck) {
    comm->is_stuck = true;
    return ncclInProgress;
  }
  if (size == 1) {
    if (call.send == call.receive) return ncclSuccess;
    const cudaError_t status =
        cudaMemcpyAsync(call.receive, call.send, call.bytes(), cudaMemcpyDeviceToDevice, handle);
    return status == cudaSuccess ? ncclSuccess
                                 : refuse(ncclUnhandledCudaError, cudaGetErrorString(status));
  }
  std::shared_ptr<Capture> capture;
  {
    const std::lock_guard lock(tables());
    capture = stream.capture;
  }
  cudaError_t status = follow(*comm, stream, capture);
  if (status == cudaSuccess) {
    status = enqueue(handle,
                     [world = comm->world, rank = comm->rank, call] { meet(*world, rank, call); });
  }
  if (status == cudaSuccess) status = cudaEventRecord(comm->event, handle);
  if (status != cudaSuccess) return refuse(ncclUnhandledCudaError, cudaGetErrorString(status));
  comm->stream = &stream;
  comm->was_captured = capture != nullptr;
  comm->capture = capture;
  return ncclSuccess;
}

std::string own_prefix() { return "emulated NCCL of process " + std::to_string(getpid()) + ", "; }

}  // namespace
}  // namespace emu

using namespace emu;

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = settings().nccl_version == 0 ? NCCL_VERSION_CODE : settings().nccl_version;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t status) {
  switch (status) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
    default:
      return "unknown result code";
  }
}

const char* ncclGetLastError(ncclComm_t comm) {
  if (comm != nullptr) {
    const std::lock_guard lock(comm->world->mutex);
    if (comm->world->status != ncclSuccess) return comm->world->error.c_str();
  }
  return last_error().c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static std::atomic<uint64_t> ids = 0;
  *id = {};
  const std::string text = own_prefix() + "world " + std::to_string(ids++);
  text.copy(id->internal, sizeof id->internal - 1);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  *comm = nullptr;
  if (config == nullptr || config->blocking != 0) fail("a blocking ncclComm is not modelled");
  const std::string name = id.internal;
  if (!name.starts_with(own_prefix())) {
    return refuse(ncclInvalidArgument,
                  "a unique id of another process: only threads of one can be ranks");
  }
  if (rank < 0 || rank >= ranks) return refuse(ncclInvalidArgument, "no such rank");
  std::shared_ptr<World> world;
  {
    const std::lock_guard lock(tables());
    world = worlds()[name].lock();
    if (world == nullptr) worlds()[name] = world = std::make_shared<World>(ranks);
  }
  const std::lock_guard lock(world->mutex);
  if (world->members.size() != static_cast<size_t>(ranks) || world->members[rank].has_joined) {
    return refuse(ncclInvalidUsage, "another number of ranks, or a rank twice");
  }
  for (const Member& other : world->members) {
    if (other.has_joined && other.device == current_device()) {
      return refuse(ncclInvalidUsage, "Duplicate GPU detected");
    }
  }
  auto made = std::make_unique<ncclComm>();
  if (cudaEventCreateWithFlags(&made->event, cudaEventDisableTiming) != cudaSuccess) {
    return ncclUnhandledCudaError;
  }
  world->members[rank] = {true, current_device(), 0};
  ++world->joined;
  made->world = world;
  made->rank = rank;
  *comm = made.release();
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const std::lock_guard lock(comm->world->mutex);
  *state = comm->world->status;
  const bool is_set_up = comm->world->joined == comm->world->members.size();
  if (*state == ncclSuccess && (!is_set_up || comm->is_stuck)) *state = ncclInProgress;
  return ncclSuccess;
}

// What is still queued keeps its world.
ncclResult_t ncclCommFinalize(ncclComm_t) { return ncclSuccess; }

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  cudaEventDestroy(comm->event);
  delete comm;
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  {
    const std::lock_guard lock(comm->world->mutex);
    comm->world->break_up(ncclRemoteError, "rank " + std::to_string(comm->rank) + " has aborted");
  }
  return ncclCommDestroy(comm);
}

ncclResult_t ncclAllReduce(const void* send, void* receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  if (op != ncclSum) fail("NCCL: an operation other than the sum is not modelled");
  return submit(comm, stream, {Kind::kAllReduce, send, receive, count, type, 0});
}

ncclResult_t ncclReduceScatter(const void* send, void* receive, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  if (op != ncclSum) fail("NCCL: an operation other than the sum is not modelled");
  return submit(comm, stream, {Kind::kReduceScatter, send, receive, count, type, 0});
}

ncclResult_t ncclAllGather(const void* send, void* receive, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return submit(comm, stream, {Kind::kAllGather, send, receive, count, type, 0});
}

ncclResult_t ncclBroadcast(const void* send, void* receive, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream) {
  return submit(comm, stream, {Kind::kBroadcast, send, receive, count, type, root});
}

}  // extern "C"
