#include "nccl_world.h"

#include <chrono>
#include <cstring>

#include "kernels/common/dtype.h"
#include "scheduler.h"
#include "settings.h"

namespace emu {
namespace {

using bigbigan::bf16;

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kAllReduce:
      return "all-reduce";
    case Kind::kReduceScatter:
      return "reduce-scatter";
    case Kind::kAllGather:
      return "all-gather";
    case Kind::kBroadcast:
      return "broadcast";
  }
  return "?";
}

template <class T, class Sum = T>
void add(const std::vector<Part>& parts, size_t offset, size_t count, void* to) {
  auto* out = static_cast<T*>(to);
  for (size_t i = 0; i < count; ++i) {
    Sum sum{};
    for (const Part& part : parts) {
      T value;
      std::memcpy(&value, part.bytes.data() + offset + i * sizeof(T), sizeof(T));
      sum += static_cast<Sum>(value);
    }
    out[i] = T(sum);
  }
}

// receive := the sum of the ranks' parts from byte `offset` on.
void add_up(const std::vector<Part>& parts, const Call& call, size_t offset) {
  switch (call.type) {
    case ncclFloat32:
      return add<float>(parts, offset, call.count, call.receive);
    case ncclFloat64:
      return add<double>(parts, offset, call.count, call.receive);
    case ncclBfloat16:
      return add<bf16, float>(parts, offset, call.count, call.receive);
    case ncclInt32:
      return add<int32_t>(parts, offset, call.count, call.receive);
    case ncclInt64:
      return add<int64_t>(parts, offset, call.count, call.receive);
    default:
      fail("NCCL: a sum of type " + std::to_string(call.type) + " is not modelled");
  }
}

void compute(const std::vector<Part>& parts, const Call& call, size_t rank) {
  switch (call.kind) {
    case Kind::kAllReduce:
      return add_up(parts, call, 0);
    case Kind::kReduceScatter:
      return add_up(parts, call, rank * call.bytes());
    case Kind::kAllGather: {
      auto* out = static_cast<char*>(call.receive);
      for (const Part& part : parts) {
        std::memcpy(out, part.bytes.data(), part.bytes.size());
        out += part.bytes.size();
      }
      return;
    }
    case Kind::kBroadcast:
      std::memcpy(call.receive, parts[call.root].bytes.data(), call.bytes());
  }
}

// Needs the lock.
void break_up_for_missing(World& world, uint64_t number, const Round& round, const Call& call) {
  std::string missing;
  for (size_t r = 0; r < round.parts.size(); ++r) {
    if (!round.parts[r].is_here) missing += (missing.empty() ? "" : ", ") + std::to_string(r);
  }
  world.break_up(ncclRemoteError, "collective " + std::to_string(number) + ", " + call.text() +
                                      ": rank " + missing + " has not come within " +
                                      std::to_string(settings().nccl_seconds) + " s");
}

}  // namespace

size_t bytes_of(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return 1;
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclFloat64:
      return 8;
    default:
      fail("NCCL: data type " + std::to_string(type) + " is not modelled");
  }
}

std::string Call::text() const {
  return std::string(name_of(kind)) + " of " + std::to_string(count) + " elements of type " +
         std::to_string(type) + ", root " + std::to_string(root);
}

void meet(World& world, size_t rank, const Call& call) {
  std::unique_lock lock(world.mutex);
  if (world.status != ncclSuccess) return;
  const size_t size = world.members.size();
  const uint64_t number = world.members[rank].collectives++;
  Round& round = world.rounds[number];
  round.parts.resize(size);
  const auto* sent = static_cast<const char*>(call.send);
  round.parts[rank] = {true, call, {sent, sent + call.sent_bytes(size)}};
  ++round.arrived;
  world.changed.notify_all();
  const bool came =
      world.changed.wait_for(lock, std::chrono::seconds(settings().nccl_seconds),
                             [&] { return round.arrived == size || world.status != ncclSuccess; });
  if (!came) break_up_for_missing(world, number, round, call);
  for (size_t r = 0; r < size && world.status == ncclSuccess; ++r) {
    if (round.parts[r].call.text() != call.text()) {
      world.break_up(ncclInvalidUsage, "collective " + std::to_string(number) + ": rank " +
                                           std::to_string(rank) + " is in " + call.text() +
                                           ", rank " + std::to_string(r) + " in " +
                                           round.parts[r].call.text());
    }
  }
  if (world.status == ncclSuccess) compute(round.parts, call, rank);
  if (++round.left == size) world.rounds.erase(number);
}

}  // namespace emu
