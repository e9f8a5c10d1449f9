// The state of the one processor that runs all grids: threads, warps and the
// block that is under way.
#pragma once

#include <vector_types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "fiber.h"
#include "scheduler.h"

namespace emu {

enum class State { kReady, kInBlockBarrier, kInWarpCollective, kReturned };

struct Thread {
  uint3 position{};
  State state = State::kReady;
  Site site;
  Fiber* fiber = nullptr;
  std::vector<std::function<void()>> deferred;
};

// One rendezvous at a time; two sets of words, since a fast lane may be at the next one while a
// slow lane still reads. That suffices because all rendezvous of a warp have the same lanes.
struct Warp {
  unsigned present = 0, arrived = 0;
  Site site;
  int phase = 0;
  uint64_t words[2][32] = {};
};

struct SharedArray {
  const void* key;
  char* data;
  size_t bytes;
};

// Addresses that stand for "all came here": memory of its own, so that no block
// inherits another's order.
struct OrderMarks {
  char block[2];
  char warp[32][2];
};

// All that exists once: ranks in one process share the emulated device's only processor.
struct Processor {
  std::mutex mutex;
  uint64_t launches = 0;
  GridObserver* observer = nullptr;

  // the grid
  const std::function<void()>* body = nullptr;
  size_t dynamic_bytes = 0;
  char* grid_order = nullptr;  // [0] start, [1] end
  std::vector<Fiber*> free_fibers;
  std::vector<std::vector<Fiber*>> fibers_of_set;  // ThreadSanitizer: [set][thread]
  size_t set = 0;

  // the block
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::vector<SharedArray> shared;
  size_t static_bytes = 0;
  std::unique_ptr<OrderMarks> marks;
  Site barrier_site;
  size_t arrived = 0, live = 0;
  int phase = 0, votes[2] = {};

  Thread* thread = nullptr;  // the one that runs
};

}  // namespace emu
