// A world of ranks in one process, and what they do in a collective: for nccl.cc.
#pragma once

#include <nccl.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace emu {

enum class Kind { kAllReduce, kReduceScatter, kAllGather, kBroadcast };

size_t bytes_of(ncclDataType_t type);

// A collective as one rank has called it.
struct Call {
  Kind kind = Kind::kAllReduce;
  const void* send = nullptr;
  void* receive = nullptr;
  size_t count = 0;  // as NCCL counts: of a reduce-scatter what is received, else what is sent
  ncclDataType_t type = ncclFloat32;
  int root = 0;

  [[nodiscard]] size_t bytes() const { return count * bytes_of(type); }
  [[nodiscard]] size_t sent_bytes(size_t ranks) const {
    return kind == Kind::kReduceScatter ? ranks * bytes() : bytes();
  }
  [[nodiscard]] size_t received_bytes(size_t ranks) const {
    return kind == Kind::kAllGather ? ranks * bytes() : bytes();
  }
  [[nodiscard]] std::string text() const;
};

struct Part {
  bool is_here = false;
  Call call;
  std::vector<char> bytes;
};

struct Round {
  std::vector<Part> parts;
  size_t arrived = 0, left = 0;
};

struct Member {
  bool has_joined = false;
  int device = -1;
  uint64_t collectives = 0;  // that its streams have come to
};

// The ranks with one unique id.
struct World {
  explicit World(size_t size) : members(size) {}

  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::vector<Member> members;
  size_t joined = 0;
  std::map<uint64_t, Round> rounds;  // by number
  // Set once: from then on collectives do nothing.
  ncclResult_t status = ncclSuccess;
  std::string error;

  // Needs the lock.
  void break_up(ncclResult_t why, const std::string& text) {
    if (status != ncclSuccess) return;
    status = why;
    error = text;
    changed.notify_all();
  }
};

// A rank's stream has come to a collective: leaves a copy of what the rank brings, waits for all
// others, and computes its result from the copies in rank order. Holds no lock of the emulator.
void meet(World& world, size_t rank, const Call& call);

}  // namespace emu
