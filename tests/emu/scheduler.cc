// Runs grids: every CUDA thread is a fiber, one runs at a time, block after block.
//
// Environment: EMU_ORDER = ascending | descending | random, EMU_SEED = number,
// EMU_TSAN_SETS = number (default 2), EMU_SKIP_BARRIER = file:line, EMU_BARRIERS = file to
// write the barriers met to.
#include "scheduler.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <vector>

#include "barrier_sites.h"
#include "fiber.h"
#include "processor.h"
#include "settings.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace emu {
namespace {

Processor& cpu = *new Processor;  // never destroyed: suspended fibers would unwind

unsigned index_of(const Thread& thread) {
  return static_cast<unsigned>(&thread - cpu.threads.data());
}
Warp& warp_of(const Thread& thread) { return cpu.warps[index_of(thread) / 32]; }

bool same(const Site& a, const Site& b) {
  // One header's file name is a different literal in each object file.
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}
std::string text_of(const uint3& v) {
  return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) + ")";
}

// --- waiting ---

void wait(State state, const Site& site) {
  Thread& me = *cpu.thread;
  me.state = state;
  me.site = site;
  me.fiber->leave();
}

// The last one to arrive need not be the first to go on.
void let_others_run() {
  if (settings().order == ScheduleOrder::kRandom) wait(State::kReady, {});
}

int block_rendezvous(int vote, const Site& site) {
  if (cpu.arrived == 0) cpu.barrier_site = site;
  if (!same(cpu.barrier_site, site)) {
    fail("threads of one block are in two barriers, the other at " + text_of(cpu.barrier_site),
         site);
  }
  const int phase = cpu.phase;
  cpu.votes[phase] += vote != 0 ? 1 : 0;
  order_release(&cpu.marks->block[phase]);
  // A thread that has returned never arrives: stricter than hardware, and ends
  // in the deadlock report.
  if (++cpu.arrived < cpu.threads.size()) {
    wait(State::kInBlockBarrier, site);
  } else {
    cpu.arrived = 0;
    cpu.phase ^= 1;
    cpu.votes[cpu.phase] = 0;
    for (Thread& thread : cpu.threads) thread.state = State::kReady;
    let_others_run();
  }
  order_acquire(&cpu.marks->block[phase]);
  return cpu.votes[phase];
}

const uint64_t* warp_rendezvous(unsigned mask, uint64_t value, const Site& site, int* phase_met) {
  const Thread& me = *cpu.thread;
  const unsigned warp_index = index_of(me) / 32;
  Warp& warp = cpu.warps[warp_index];
  if ((mask & warp.present) != warp.present) {
    fail("a warp collective whose mask leaves out lanes of the warp: not modelled", site);
  }
  if (warp.arrived == 0) warp.site = site;
  if (!same(warp.site, site)) {
    fail("lanes of one warp are in two collectives, the other at " + text_of(warp.site), site);
  }
  const int phase = warp.phase;
  *phase_met = phase;
  warp.words[phase][lane()] = value;
  warp.arrived |= 1u << lane();
  if (warp.arrived != warp.present) {
    wait(State::kInWarpCollective, site);
  } else {
    warp.arrived = 0;
    warp.phase ^= 1;
    for (unsigned i = warp_index * 32; i < cpu.threads.size() && i < (warp_index + 1) * 32; ++i) {
      cpu.threads[i].state = State::kReady;
    }
    let_others_run();
  }
  return warp.words[phase];
}

// --- memory ---

constexpr size_t kStaticLimit = 48 * 1024, kSharedLimit = 227 * 1024;

// Of exactly this size, so that the sanitizer's red zone begins behind the last byte.
void* new_shared(const void* key, size_t bytes) {
  const Unseen unseen;
  void* data = nullptr;
  if (posix_memalign(&data, 16, bytes) != 0) fail("out of memory");
  std::memset(data, 0xff, bytes);
  cpu.shared.push_back({key, static_cast<char*>(data), bytes});
  return data;
}

// --- blocks and grids ---

// The queue keeps its memory from block to block, that is from one identity to another.
void forget_deferred(Thread& thread) {
  const Unseen unseen;
  thread.deferred.clear();
}

// What a fiber does for one thread.
void run_thread() {
  order_acquire(&cpu.grid_order[0]);
  (*cpu.body)();
  order_release(&cpu.grid_order[1]);
  Thread& me = *cpu.thread;
  me.state = State::kReturned;
  forget_deferred(me);
  --cpu.live;
}

// ThreadSanitizer sees one identity per thread and set: a stack handed to another identity
// would look like a race. Sets alternate from block to block, since program order would
// otherwise order the blocks.
Fiber* fiber_for(const Thread& thread) {
  if (!kThreadSanitizer) {
    if (cpu.free_fibers.empty()) return new Fiber(run_thread);
    Fiber* fiber = cpu.free_fibers.back();
    cpu.free_fibers.pop_back();
    return fiber;
  }
  auto& fibers = cpu.fibers_of_set[cpu.set];
  while (fibers.size() <= index_of(thread)) fibers.push_back(new Fiber(run_thread));
  return fibers[index_of(thread)];
}

void resume(Thread& thread) {
  if (thread.fiber == nullptr) thread.fiber = fiber_for(thread);
  cpu.thread = &thread;
  threadIdx = thread.position;
  thread.fiber->enter();
  cpu.thread = nullptr;
  if (thread.state == State::kReturned) {
    if (!kThreadSanitizer) cpu.free_fibers.push_back(thread.fiber);
    thread.fiber = nullptr;
  }
}

[[noreturn]] void report_deadlock() {
  std::map<std::string, int> groups;
  for (const Thread& thread : cpu.threads) {
    if (thread.state == State::kReturned) {
      ++groups["returned"];
    } else {
      const bool block = thread.state == State::kInBlockBarrier;
      ++groups[std::string(block ? "in a block barrier" : "in a warp collective") + " at " +
               text_of(thread.site) + " (" + thread.site.function + ")"];
    }
  }
  std::string text = "deadlock:";
  for (const auto& [where, count] : groups) {
    text += "\n  " + std::to_string(count) + " " + where;
  }
  fail(text);
}

void begin_block() {
  const Unseen unseen;
  for (Thread& thread : cpu.threads) thread.state = State::kReady;
  for (Warp& warp : cpu.warps) warp.arrived = 0;
  cpu.marks = std::make_unique<OrderMarks>();
  cpu.static_bytes = 0;
  cpu.arrived = 0;
  cpu.votes[cpu.phase] = 0;
  cpu.live = cpu.threads.size();
  if (cpu.dynamic_bytes > 0) new_shared(nullptr, cpu.dynamic_bytes);
}

void end_block() {
  const Unseen unseen;
  if (cpu.observer != nullptr) cpu.observer->end_block();
  for (const SharedArray& array : cpu.shared) std::free(array.data);
  cpu.shared.clear();
  cpu.marks.reset();
}

// Gives each ready lane of a warp a turn; false if there was none.
bool run_lanes(unsigned warp, const std::vector<unsigned>& lanes) {
  bool progress = false;
  for (const unsigned lane : lanes) {
    const size_t index = size_t{32} * warp + lane;
    if (index >= cpu.threads.size() || cpu.threads[index].state != State::kReady) continue;
    resume(cpu.threads[index]);
    progress = true;
  }
  return progress;
}

// A warp runs on as long as it can, so that it gets far ahead of the others: turns given fairly
// would hide that a barrier is missing.
void run_block(std::vector<unsigned>& warps, std::vector<unsigned>& lanes, Random& random) {
  begin_block();
  while (cpu.live > 0) {
    bool progress = false;
    random.arrange(warps);
    for (const unsigned warp : warps) {
      random.arrange(lanes);
      while (run_lanes(warp, lanes)) {
        progress = true;
        if (random.interrupts()) break;
      }
    }
    if (!progress) report_deadlock();
  }
  end_block();
}

void lay_out_threads(const dim3& block) {
  const size_t n = size_t{block.x} * block.y * block.z;
  cpu.threads.assign(n, Thread{});
  cpu.warps.assign((n + 31) / 32, Warp{});
  for (size_t i = 0; i < n; ++i) {
    const auto index = static_cast<unsigned>(i);
    cpu.threads[i].position = {index % block.x, index / block.x % block.y,
                               index / block.x / block.y};
    warp_of(cpu.threads[i]).present |= 1u << (i % 32);
  }
}

}  // namespace

void observe_grids(GridObserver* observer) {
  const std::lock_guard lock(cpu.mutex);
  cpu.observer = observer;
}

void run_grid(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes,
              const std::function<void()>& body) {
  const std::lock_guard lock(cpu.mutex);
  if (cpu.observer != nullptr) cpu.observer->begin_grid(kernel, grid, block);
  Random random(cpu.launches++);
  gridDim = grid;
  blockDim = block;
  cpu.body = &body;
  cpu.dynamic_bytes = shared_bytes;
  lay_out_threads(block);
  cpu.fibers_of_set.resize(settings().tsan_sets);
  const auto grid_order = [] {
    const Unseen unseen;
    return std::make_unique<char[]>(2);
  }();
  cpu.grid_order = grid_order.get();

  std::vector<size_t> blocks(size_t{grid.x} * grid.y * grid.z);
  std::vector<unsigned> warps(cpu.warps.size()), lanes(32);
  std::iota(blocks.begin(), blocks.end(), size_t{0});
  std::iota(warps.begin(), warps.end(), 0u);
  std::iota(lanes.begin(), lanes.end(), 0u);
  random.arrange(blocks);

  order_release(&cpu.grid_order[0]);
  for (size_t number = 0; number < blocks.size(); ++number) {
    const size_t i = blocks[number];
    blockIdx = {static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                static_cast<unsigned>(i / grid.x / grid.y)};
    // By the running number: by coordinates, neighbours across the end of a row could share a set.
    cpu.set = number % settings().tsan_sets;
    run_block(warps, lanes, random);
  }
  order_acquire(&cpu.grid_order[1]);
  if (cpu.observer != nullptr) cpu.observer->end_grid();
}

void fail(const std::string& what, Site site) {
  std::fprintf(stderr, "emulated CUDA: %s\n", what.c_str());
  if (site.file != nullptr) {
    std::fprintf(stderr, "  at %s in %s\n", text_of(site).c_str(), site.function);
  }
  if (cpu.live > 0) std::fprintf(stderr, "  block %s", text_of(blockIdx).c_str());
  if (cpu.thread != nullptr) std::fprintf(stderr, " thread %s", text_of(threadIdx).c_str());
  std::fprintf(stderr, "\n");
  std::abort();
}

void* static_shared(const void* key, size_t bytes) {
  for (const SharedArray& array : cpu.shared) {
    if (array.key == key) return array.data;
  }
  cpu.static_bytes += (bytes + 15) / 16 * 16;
  if (cpu.static_bytes > kStaticLimit || cpu.static_bytes + cpu.dynamic_bytes > kSharedLimit) {
    fail("too much shared memory: " + std::to_string(cpu.static_bytes) + " bytes static and " +
         std::to_string(cpu.dynamic_bytes) + " dynamic");
  }
  return new_shared(key, bytes);
}

void* dynamic_shared() {
  if (cpu.dynamic_bytes == 0) fail("dynamic shared memory in a launch with 0 bytes of it");
  return cpu.shared[0].data;
}

void block_barrier(Site site) {
  if (!barrier_skipped(site)) block_rendezvous(0, site);
}
int block_count(int predicate, Site site) { return block_rendezvous(predicate, site); }

void warp_barrier(unsigned mask, Site site) {
  const unsigned warp = index_of(*cpu.thread) / 32;
  order_release(&cpu.marks->warp[warp][cpu.warps[warp].phase]);
  int phase = 0;
  warp_rendezvous(mask, 0, site, &phase);
  order_acquire(&cpu.marks->warp[warp][phase]);
}

// No order for ThreadSanitizer: a shuffle is no fence.
const uint64_t* warp_exchange(unsigned mask, uint64_t value, Site site) {
  int phase = 0;
  return warp_rendezvous(mask, value, site, &phase);
}

uint64_t warp_shuffle(unsigned mask, uint64_t value, unsigned source, Site site) {
  const unsigned present = warp_of(*cpu.thread).present;
  if ((present >> source & 1) == 0) fail("shuffle from a lane that does not exist", site);
  return warp_exchange(mask, value, site)[source];
}

unsigned lane() { return index_of(*cpu.thread) % 32; }
unsigned warp() { return index_of(*cpu.thread) / 32; }

ptrdiff_t place_in_shared(const void* address) {
  for (const SharedArray& array : cpu.shared) {
    const ptrdiff_t place = static_cast<const char*>(address) - array.data;
    if (place >= 0 && static_cast<size_t>(place) < array.bytes) return place;
  }
  return -1;
}

void thread_fence() {
  static char fence;
  order_acquire(&fence);
  order_release(&fence);
}

void defer(std::function<void()> copy) {
  const Unseen unseen;
  cpu.thread->deferred.push_back(std::move(copy));
}

void run_deferred() {
  for (const auto& copy : cpu.thread->deferred) copy();
  forget_deferred(*cpu.thread);
}

}  // namespace emu
