#include "engine/world/with_mpi/mpi_world.h"

#include <fmt/format.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>

#include "engine/comm/ordered_sum.h"
#include "engine/util/host.h"
#include "engine/world/launcher.h"

namespace bigbigan {
namespace {

// Below, a message costs its latency: one exchange is cheaper than two.
constexpr int64_t kWholeBytes = 1 << 14;
// MPI counts in int.
constexpr int64_t kMaxMessageBytes = int64_t{1} << 30;
// What MPI_Abort may take before the process ends by itself.
constexpr std::chrono::seconds kAbortPatience{5};

void check_mpi(int status, std::string_view call) {
  if (status == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(status, text.data(), &length);
  fail(ExitCode::kPeerLost, "{}: {}", call, std::string_view(text.data(), length));
}

double setup_seconds() {
  const char* text = std::getenv("BIGBIGAN_RANKS__SETUP_SECONDS");
  double seconds = 0;
  // What is wrong with it, the configuration will say.
  if (text == nullptr ||
      std::from_chars(text, text + std::strlen(text), seconds).ec != std::errc()) {
    return kSetupSeconds;
  }
  return seconds;
}

// The part of [0, n) that belongs to rank r.
int64_t part_begin(int64_t n, int r, int size) { return n * r / size; }

}  // namespace

std::string MpiCommunicator::describe(const Intent& intent) {
  constexpr std::array<const char*, 5> kNames = {"all_reduce_sum", "reduce_scatter_sum",
                                                 "all_gather", "broadcast", "barrier"};
  return fmt::format("number {}, {} of {} bytes of {}", intent.number, kNames[intent.kind],
                     intent.bytes, name_of(static_cast<DType>(intent.dtype)));
}

void MpiCommunicator::agree(Kind kind, ConstView values) {
  const Intent mine{++count_, static_cast<int64_t>(kind), values.bytes(),
                    static_cast<int64_t>(values.dtype)};
  intents_.resize(size_);
  check_mpi(MPI_Allgather(&mine, sizeof mine, MPI_BYTE, intents_.data(), sizeof mine, MPI_BYTE,
                          MPI_COMM_WORLD),
            "MPI_Allgather");
  for (int r = 1; r < size_; ++r) {
    check(intents_[r] == intents_[0],
          "ranks are in different collectives: rank 0 in {}, rank {} in {}", describe(intents_[0]),
          r, describe(intents_[r]));
  }
}

void MpiCommunicator::all_reduce_sum(View values) {
  agree(Kind::kSum, values);
  const auto element = static_cast<int64_t>(size_of(values.dtype));
  const int64_t chunk = kMaxMessageBytes / element;
  for (int64_t begin = 0; begin < values.elems(); begin += chunk) {
    const int64_t n = std::min(chunk, values.elems() - begin);
    const View part{static_cast<std::byte*>(values.data) + begin * element, {n}, values.dtype};
    if (part.bytes() <= kWholeBytes) {
      reduce_whole(part);
    } else {
      reduce_in_parts(part);
    }
  }
}

void MpiCommunicator::reduce_whole(View values) {
  const int64_t bytes = values.bytes();
  staging_.resize(bytes * size_);
  check_mpi(MPI_Allgather(values.data, static_cast<int>(bytes), MPI_BYTE, staging_.data(),
                          static_cast<int>(bytes), MPI_BYTE, MPI_COMM_WORLD),
            "MPI_Allgather");
  std::vector<const std::byte*> parts;
  parts.reserve(size_);
  for (int r = 0; r < size_; ++r) parts.push_back(staging_.data() + r * bytes);
  add_in_rank_order(parts, values);
}

void MpiCommunicator::reduce_part(ConstView values, std::span<const int64_t> begin, View mine) {
  const auto element = static_cast<int64_t>(size_of(values.dtype));
  std::vector<int> counts, offsets, mine_counts, mine_offsets;
  for (int r = 0; r < size_; ++r) {
    counts.push_back(static_cast<int>((begin[r + 1] - begin[r]) * element));
    offsets.push_back(static_cast<int>(begin[r] * element));
    mine_counts.push_back(static_cast<int>(mine.bytes()));
    mine_offsets.push_back(static_cast<int>(r * mine.bytes()));
  }
  staging_.resize(mine.bytes() * size_);
  check_mpi(MPI_Alltoallv(values.data, counts.data(), offsets.data(), MPI_BYTE, staging_.data(),
                          mine_counts.data(), mine_offsets.data(), MPI_BYTE, MPI_COMM_WORLD),
            "MPI_Alltoallv");
  std::vector<const std::byte*> parts;
  parts.reserve(size_);
  for (int r = 0; r < size_; ++r) parts.push_back(staging_.data() + mine_offsets[r]);
  add_in_rank_order(parts, mine);
}

void MpiCommunicator::reduce_in_parts(View values) {
  const auto element = static_cast<int64_t>(size_of(values.dtype));
  std::vector<int64_t> begin;
  for (int r = 0; r <= size_; ++r) begin.push_back(part_begin(values.elems(), r, size_));
  const View mine{static_cast<std::byte*>(values.data) + begin[rank_] * element,
                  {begin[rank_ + 1] - begin[rank_]},
                  values.dtype};
  reduce_part(values, begin, mine);
  std::vector<int> counts, offsets;
  for (int r = 0; r < size_; ++r) {
    counts.push_back(static_cast<int>((begin[r + 1] - begin[r]) * element));
    offsets.push_back(static_cast<int>(begin[r] * element));
  }
  check_mpi(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_BYTE, values.data, counts.data(), offsets.data(),
                           MPI_BYTE, MPI_COMM_WORLD),
            "MPI_Allgatherv");
}

void MpiCommunicator::reduce_scatter_sum(View values, View mine) {
  agree(Kind::kPartOfSum, values);
  check_parts(values, mine, size_);
  // In turns of at most as many elements of each part as one message holds.
  const auto element = static_cast<int64_t>(size_of(values.dtype));
  const int64_t turn = kMaxMessageBytes / element / size_;
  std::vector<std::byte> packed;
  for (int64_t at = 0; at < mine.elems(); at += turn) {
    const int64_t n = std::min(turn, mine.elems() - at);
    packed.resize(n * element * size_);
    std::vector<int64_t> begin;
    for (int r = 0; r < size_; ++r) {
      begin.push_back(r * n);
      std::memcpy(packed.data() + r * n * element,
                  static_cast<const std::byte*>(values.data) + (r * mine.elems() + at) * element,
                  n * element);
    }
    begin.push_back(size_ * n);
    reduce_part({packed.data(), {size_ * n}, values.dtype}, begin,
                {static_cast<std::byte*>(mine.data) + at * element, {n}, values.dtype});
  }
}

void MpiCommunicator::all_gather(ConstView send, View received) {
  agree(Kind::kGather, send);
  check(received.bytes() == send.bytes() * size_ && send.bytes() <= kMaxMessageBytes,
        "all_gather: receives {} bytes, expected {} x {}", received.bytes(), size_, send.bytes());
  const auto bytes = static_cast<int>(send.bytes());
  const bool is_in_place =
      send.data == static_cast<const std::byte*>(received.data) + rank_ * send.bytes();
  check_mpi(MPI_Allgather(is_in_place ? MPI_IN_PLACE : send.data, bytes, MPI_BYTE, received.data,
                          bytes, MPI_BYTE, MPI_COMM_WORLD),
            "MPI_Allgather");
}

void MpiCommunicator::broadcast(View values, int root) {
  agree(Kind::kBroadcast, values);
  for (int64_t begin = 0; begin < values.bytes(); begin += kMaxMessageBytes) {
    const auto bytes = static_cast<int>(std::min(kMaxMessageBytes, values.bytes() - begin));
    check_mpi(MPI_Bcast(static_cast<std::byte*>(values.data) + begin, bytes, MPI_BYTE, root,
                        MPI_COMM_WORLD),
              "MPI_Bcast");
  }
}

void MpiCommunicator::barrier() { agree(Kind::kBarrier, {nullptr, {0}, DType::kU8}); }

MpiWorld::MpiWorld() {
  int provided = 0, rank = 0, size = 0;
  // A thread that watches may have to abort while this one waits inside MPI.
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided) != MPI_SUCCESS ||
      provided < MPI_THREAD_MULTIPLE) {
    fail(ExitCode::kSystem, "MPI does not start with support for threads (level {} of {})",
         provided, MPI_THREAD_MULTIPLE);
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  communicator_ = std::make_unique<MpiCommunicator>(rank, size);
  MPI_Comm local = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &local),
            "MPI_Comm_split_type");
  MPI_Comm_size(local, &local_size_);
  MPI_Comm_free(&local);
  host_ = host_name();
}

MpiWorld::~MpiWorld() { MPI_Finalize(); }

void MpiWorld::abort(ExitCode code) {
  static std::atomic<bool> aborting{false};
  const int status = static_cast<int>(code);
  if (!aborting.exchange(true)) {
    try {
      std::thread([status] {
        std::this_thread::sleep_for(kAbortPatience);
        _exit(status);
      }).detach();
    } catch (const std::system_error&) {  // no memory for a thread: without one, then
    }
    MPI_Abort(MPI_COMM_WORLD, status);
  }
  std::this_thread::sleep_for(2 * kAbortPatience);
  _exit(status);
}

std::unique_ptr<World> join_world() {
  const auto launcher = launcher_of([](const char* name) { return std::getenv(name); });
  if (!launcher || (!launcher->has_mpi && launcher->ranks == 1)) return world_of_one();
  if (!launcher->has_mpi) {
    refuse_launch(launcher->name, launcher->ranks, "it has left no trace of MPI");
  }
  const auto limit = limit_setup(launcher->rank, launcher->ranks, setup_seconds());
  auto world = std::make_unique<MpiWorld>();
  const int size = world->communicator().size();
  if (size != launcher->ranks) {
    refuse_launch(launcher->name, launcher->ranks,
                  fmt::format("MPI finds {} of them: another MPI's launcher", size));
  }
  return world;
}

}  // namespace bigbigan
