// Exclusive use of a run directory by one trainer.
#pragma once

#include "engine/io/vfs.h"

namespace bigbigan {

// Holds `run`/kFile, which names this process and host, until destruction; the lock goes with
// the process however it ends. Throws Error{kCannotCreate}, naming the owner, when another one
// holds it.
class RunLock {
 public:
  static constexpr const char* kFile = "run.lock";

  explicit RunLock(const Vfs::Path& run);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_;
};

}  // namespace bigbigan
