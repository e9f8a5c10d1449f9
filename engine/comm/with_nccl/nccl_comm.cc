// Collectives between GPUs by NCCL.
//
// Note [NCCL]: the library is opened by the first run of several ranks on GPUs. A communicator is
// non-blocking: no call of NCCL waits for another rank for longer than its owner allows, and the
// watchdog can ask for errors, and abort, at any moment (Note [Watchdog]). All collectives of a run
// go through one communicator in one order, on the stream of the launches; sums that are started
// use a second stream that forks off by one event and joins by another, which a recording takes
// along.
#include <nccl.h>

#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/comm/device_communicator.h"
#include "engine/util/clock.h"
#include "engine/util/deadline.h"
#include "engine/util/program.h"
#include "kernels/common/cuda_status.h"
#include "kernels/common/vendor_library.h"

namespace bigbigan {
namespace {

constexpr int kOldest = NCCL_VERSION(2, 18, 0);  // ncclCommInitRankConfig as it is used here
// Released with faults that end runs; 2.28.9 has none of them.
constexpr int kFirstBad = NCCL_VERSION(2, 28, 3), kLastBad = NCCL_VERSION(2, 28, 7);
constexpr double kGoodbyeSeconds = 10;
constexpr std::chrono::microseconds kPoll{50};

std::string version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

// NCCL's functions, from the library opened at run time.
struct Library {
  VendorLibrary library{"NCCL 2", "libnccl.so.2", "NCCL (libnccl2, or Python's nvidia-nccl-cu13)"};
  decltype(&ncclGetVersion) get_version{};
  decltype(&ncclGetErrorString) error_text{};
  decltype(&ncclGetLastError) last_error{};
  decltype(&ncclGetUniqueId) make_id{};
  decltype(&ncclCommInitRankConfig) join{};
  decltype(&ncclCommGetAsyncError) state_of{};
  decltype(&ncclCommFinalize) finalize{};
  decltype(&ncclCommDestroy) destroy{};
  decltype(&ncclCommAbort) abort{};
  decltype(&ncclAllReduce) all_reduce{};
  decltype(&ncclReduceScatter) reduce_scatter{};
  decltype(&ncclAllGather) all_gather{};
  decltype(&ncclBroadcast) broadcast{};
  int version = 0;

  Library() {
    // One algorithm, one protocol, nothing summed in a switch: the same bits on every run.
    for (const auto& [name, value] :
         {std::pair("NCCL_ALGO", "Ring"), {"NCCL_PROTO", "Simple"}, {"NCCL_NVLS_ENABLE", "0"}}) {
      setenv(name, value, /*replace=*/0);
    }
    void* handle = open_library(library);
    find_function(handle, library, "ncclGetVersion", get_version);
    get_version(&version);
    if (version < kOldest) {
      fail(ExitCode::kSystem,
           "NCCL: {} is of version {}, this program needs {} or later; install {}, or put its "
           "folder first in LD_LIBRARY_PATH",
           library.file, version_text(version), version_text(kOldest), library.package);
    }
    find_function(handle, library, "ncclGetErrorString", error_text);
    find_function(handle, library, "ncclGetLastError", last_error);
    find_function(handle, library, "ncclGetUniqueId", make_id);
    find_function(handle, library, "ncclCommInitRankConfig", join);
    find_function(handle, library, "ncclCommGetAsyncError", state_of);
    find_function(handle, library, "ncclCommFinalize", finalize);
    find_function(handle, library, "ncclCommDestroy", destroy);
    find_function(handle, library, "ncclCommAbort", abort);
    find_function(handle, library, "ncclAllReduce", all_reduce);
    find_function(handle, library, "ncclReduceScatter", reduce_scatter);
    find_function(handle, library, "ncclAllGather", all_gather);
    find_function(handle, library, "ncclBroadcast", broadcast);
  }

  // "remote process exited (socketProgress: Connection closed by ...)"
  [[nodiscard]] std::string describe(ncclResult_t status, ncclComm_t comm) const {
    const char* const more = last_error(comm);
    const bool has_more = more != nullptr && *more != '\0';
    return fmt::format("{}{}{}{}", error_text(status), has_more ? " (" : "", has_more ? more : "",
                       has_more ? ")" : "");
  }
};

const Library& nccl() {
  static const Library once;
  return once;
}

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return ncclFloat32;
    case DType::kF64:
      return ncclFloat64;
    case DType::kBF16:
      return ncclBfloat16;
    case DType::kU8:
      return ncclUint8;
    case DType::kI32:
      return ncclInt32;
    case DType::kI64:
      return ncclInt64;
  }
  fail(ExitCode::kInternal, "NCCL: no type for dtype {}", static_cast<int>(dtype));
}

// A stream beside another one: fork() and join() order the two, also while both are recorded.
class SideStream {
 public:
  explicit SideStream(cudaStream_t main) : main_(main) {
    check_cuda(cudaStreamCreateWithFlags(&side_, cudaStreamNonBlocking), "CUDA stream");
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "CUDA event");
  }
  ~SideStream() {
    if (event_ != nullptr) cudaEventDestroy(event_);
    cudaStreamDestroy(side_);
  }
  SideStream(const SideStream&) = delete;
  SideStream& operator=(const SideStream&) = delete;

  [[nodiscard]] cudaStream_t get() const { return side_; }
  void fork() { order(main_, side_); }
  void join() { order(side_, main_); }

 private:
  // What comes to `after` from now on runs behind all that `before` has.
  void order(cudaStream_t before, cudaStream_t after) {
    check_cuda(cudaEventRecord(event_, before), "CUDA event");
    check_cuda(cudaStreamWaitEvent(after, event_, 0), "CUDA event");
  }

  cudaStream_t main_, side_ = nullptr;
  cudaEvent_t event_ = nullptr;
};

class NcclCommunicator final : public DeviceCommunicator {
 public:
  NcclCommunicator(Communicator& bootstrap, const CudaExec& exec, double seconds)
      : bootstrap_(bootstrap), stream_(exec.stream), seconds_(seconds), side_(exec.stream) {}
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  // Called by all, once.
  void join();

  [[nodiscard]] int rank() const override { return bootstrap_.rank(); }
  [[nodiscard]] int size() const override { return bootstrap_.size(); }
  void all_reduce_sum(View values) override { sum(values, stream_); }
  void reduce_scatter_sum(View values, View mine) override { sum(values, mine, stream_); }
  void start_sum(View values) override { sum(values, fork_side_stream()); }
  void start_reduce_scatter_sum(View values, View mine) override {
    sum(values, mine, fork_side_stream());
  }
  void finish_sums() override;
  void all_gather(ConstView send, View received) override;
  void broadcast(View values, int root) override;
  void barrier() override { bootstrap_.barrier(); }
  [[nodiscard]] std::string error() const override;
  void abort() noexcept override;

 private:
  void sum(View values, cudaStream_t stream);
  void sum(View values, View mine, cudaStream_t stream);  // reduce-scatter
  // What comes to it runs behind all that the main stream has, and beside what that gets until
  // finish_sums().
  [[nodiscard]] cudaStream_t fork_side_stream();
  // call(comm), and waits until what it begins is enqueued.
  template <class Call>
  void enqueue(std::string_view what, const Call& call);
  // Waits until the communicator is done with what it was told last; kInProgress after `seconds`.
  ncclResult_t settle(ncclResult_t status, double seconds);
  [[noreturn]] void fail_for(std::string_view what, ncclResult_t status) const;

  Communicator& bootstrap_;
  const cudaStream_t stream_;
  const double seconds_;
  SideStream side_;
  bool is_forked_ = false;
  mutable std::mutex mutex_;   // of comm_; held in calls of NCCL, all of which return at once
  ncclComm_t comm_ = nullptr;  // null: not joined yet, or aborted
};

NcclCommunicator::~NcclCommunicator() {
  if (comm_ == nullptr) return;
  // After an error the others may never come to say goodbye.
  const bool is_well = std::uncaught_exceptions() == 0 &&
                       settle(nccl().finalize(comm_), kGoodbyeSeconds) == ncclSuccess;
  if (is_well) {
    nccl().destroy(comm_);
  } else {
    ends_within(kGoodbyeSeconds, [comm = comm_] { nccl().abort(comm); });
  }
}

void NcclCommunicator::join() {
  ncclUniqueId id{};
  if (rank() == 0) {
    if (kFirstBad <= nccl().version && nccl().version <= kLastBad) {
      note(fmt::format("warning: NCCL {} is known to hang and to crash; install another release",
                       version_text(nccl().version)));
    }
    if (const ncclResult_t status = nccl().make_id(&id); status != ncclSuccess) {
      fail_for("unique id", status);
    }
  }
  bootstrap_.broadcast({id.internal, {sizeof id.internal}, DType::kU8}, 0);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const ncclResult_t begun = nccl().join(&comm_, size(), id, rank(), &config);
  if (const ncclResult_t status = settle(begun, seconds_); status != ncclSuccess) {
    fail_for("set-up", status);
  }
}

template <class Call>
void NcclCommunicator::enqueue(std::string_view what, const Call& call) {
  ncclResult_t status = ncclSuccess;
  {
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) fail(ExitCode::kPeerLost, "NCCL: {}: given up", what);
    status = call(comm_);
  }
  if (status = settle(status, seconds_); status != ncclSuccess) fail_for(what, status);
}

ncclResult_t NcclCommunicator::settle(ncclResult_t status, double seconds) {
  const double end = monotonic_seconds() + seconds;
  while (status == ncclInProgress && monotonic_seconds() < end) {
    std::this_thread::sleep_for(kPoll);
    const std::lock_guard lock(mutex_);
    if (comm_ == nullptr) return ncclRemoteError;  // given up meanwhile
    if (nccl().state_of(comm_, &status) != ncclSuccess) return ncclInternalError;
  }
  return status;
}

void NcclCommunicator::fail_for(std::string_view what, ncclResult_t status) const {
  if (status == ncclInProgress) {
    fail(ExitCode::kPeerLost, "NCCL: {}: rank {} has waited {:.1f} s for the others", what, rank(),
         seconds_);
  }
  const std::lock_guard lock(mutex_);
  fail(status == ncclRemoteError ? ExitCode::kPeerLost : ExitCode::kSystem,
       "NCCL: {}: {}; NCCL_DEBUG=INFO in the environment says more", what,
       nccl().describe(status, comm_));
}

void NcclCommunicator::sum(View values, cudaStream_t stream) {
  check(values.dtype != DType::kU8, "all_reduce: no sum for u8");
  if (values.elems() == 0) return;
  enqueue("all_reduce_sum", [&](ncclComm_t comm) {
    return nccl().all_reduce(values.data, values.data, values.elems(), type_of(values.dtype),
                             ncclSum, comm, stream);
  });
}

void NcclCommunicator::sum(View values, View mine, cudaStream_t stream) {
  check_parts(values, mine, size());
  check(values.dtype != DType::kU8, "reduce_scatter: no sum for u8");
  if (mine.elems() == 0) return;
  enqueue("reduce_scatter_sum", [&](ncclComm_t comm) {
    return nccl().reduce_scatter(values.data, mine.data, mine.elems(), type_of(mine.dtype), ncclSum,
                                 comm, stream);
  });
}

cudaStream_t NcclCommunicator::fork_side_stream() {
  if (size() == 1) return stream_;  // a sum over one rank is nothing that could run beside others
  side_.fork();
  is_forked_ = true;
  return side_.get();
}

void NcclCommunicator::finish_sums() {
  if (std::exchange(is_forked_, false)) side_.join();
}

void NcclCommunicator::all_gather(ConstView send, View received) {
  check(received.bytes() == send.bytes() * size(),
        "all_gather: receives {} bytes, expected {} x {}", received.bytes(), size(), send.bytes());
  if (send.elems() == 0) return;
  enqueue("all_gather", [&](ncclComm_t comm) {
    return nccl().all_gather(send.data, received.data, send.elems(), type_of(send.dtype), comm,
                             stream_);
  });
}

void NcclCommunicator::broadcast(View values, int root) {
  if (values.elems() == 0) return;
  enqueue("broadcast", [&](ncclComm_t comm) {
    return nccl().broadcast(values.data, values.data, values.elems(), type_of(values.dtype), root,
                            comm, stream_);
  });
}

std::string NcclCommunicator::error() const {
  const std::unique_lock lock(mutex_, std::try_to_lock);  // in use: the next time, then
  ncclResult_t status = ncclSuccess;
  if (!lock || comm_ == nullptr || nccl().state_of(comm_, &status) != ncclSuccess) return "";
  if (status == ncclSuccess || status == ncclInProgress) return "";
  return "NCCL: " + nccl().describe(status, comm_);
}

void NcclCommunicator::abort() noexcept {
  ncclComm_t comm = nullptr;
  {
    const std::lock_guard lock(mutex_);
    comm = std::exchange(comm_, nullptr);
  }
  if (comm != nullptr) nccl().abort(comm);
}

}  // namespace

std::unique_ptr<DeviceCommunicator> make_nccl_communicator(Communicator& bootstrap,
                                                           const AnyExec& exec, double seconds) {
  auto communicator =
      std::make_unique<NcclCommunicator>(bootstrap, std::get<CudaExec>(exec), seconds);
  communicator->join();
  return communicator;
}

}  // namespace bigbigan
