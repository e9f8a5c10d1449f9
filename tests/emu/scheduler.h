// The seam between the language (cuda_emu.h, launch.cuh) and what executes it
// (scheduler.cc, streams.cc).
#pragma once

#include <driver_types.h>
#include <vector_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace emu {

// A place in the source. As a defaulted last argument it is the caller's.
struct Site {
  const char* file = nullptr;
  int line = 0;
  const char* function = nullptr;

  static Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE(),
                   const char* function = __builtin_FUNCTION()) {
    return {file, line, function};
  }
};

// Prints the message, the place, the block and thread, and aborts.
[[noreturn]] void fail(const std::string& what, Site site = {});

// Enqueues a grid of `body`, the kernel with its arguments. An error is left for cudaGetLastError.
void launch(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            std::function<void()> body);
// What a graph says of a node.
struct Work {
  cudaGraphNodeType type = cudaGraphNodeTypeKernel;
  size_t bytes = 0;  // that a copy or a fill writes
};
// Enqueues anything else; returns what refused it.
cudaError_t enqueue(cudaStream_t stream, std::function<void()> op, const Work& work = {});
// Runs a grid of `kernel` to its end on the calling thread.
void run_grid(const void* kernel, dim3 grid, dim3 block, size_t shared_bytes,
              const std::function<void()>& body);

// Hears of all grids, for a build that counts what they do (traffic/).
class GridObserver {
 public:
  virtual ~GridObserver() = default;
  virtual void begin_grid(const void* kernel, dim3 grid, dim3 block) = 0;
  virtual void end_block() = 0;
  virtual void end_grid() = 0;
};
void observe_grids(GridObserver* observer);  // null: nobody

// Called by the threads of a grid. The memory is the block's, new and filled with 0xff.
void* static_shared(const void* key, size_t bytes);
void* dynamic_shared();

void block_barrier(Site site);                // __syncthreads; the one that mutation may skip
int block_count(int predicate, Site site);    // __syncthreads_count, with the barrier in it
void warp_barrier(unsigned mask, Site site);  // __syncwarp
// Hands `value` in and returns the words of all 32 lanes, valid until this
// warp's next but one exchange.
const uint64_t* warp_exchange(unsigned mask, uint64_t value, Site site);
// The same, and picks the word of lane `source`, which must exist.
uint64_t warp_shuffle(unsigned mask, uint64_t value, unsigned source, Site site);
unsigned lane();
unsigned warp();  // its number in the block
// How far into its array the address lies; -1 where it is not in the block's shared memory.
ptrdiff_t place_in_shared(const void* address);
void thread_fence();

void defer(std::function<void()> copy);  // cp.async
void run_deferred();                     // cp.async.wait_all

}  // namespace emu
