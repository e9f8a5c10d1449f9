// Note [One-thread primitives]: oneDNN splits reductions by the number of OpenMP threads, so its
// results depend on that number. Every oneDNN call here runs on one thread, inside a fixed chunk of
// ours: equal bits for any number of threads, no second thread pool, and no spinning OpenMP
// barrier.
#pragma once

namespace bigbigan {

// While one exists, oneDNN called from this thread uses this thread alone.
class OneThread {
 public:
  OneThread();
};

}  // namespace bigbigan
