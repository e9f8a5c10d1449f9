// Checkpoints as directories that appear whole or not at all.
//
// Note [Checkpoint protocol]: files are written into a staging directory, each synced and hashed; a MANIFEST
// with sizes and XXH3-128 hashes is written last; the staging directory is synced and renamed to
// step-XXXXXXXX; the run directory is synced. Only then is the checkpoint acknowledged and an older one
// removed (renamed to .trash- first). The newest directory whose MANIFEST verifies is the latest: validity lies
// inside the directory, not in its name. A loader never deletes. The hash detects accidents, not tampering.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/io/vfs.h"

namespace bigbigan {

struct CheckpointFile {
  std::string name;
  std::function<void(WritableFile&)> write;
};

// Saves the files as `run`/step-<step>; returns its path once it is durable. An existing directory of that
// step that does not verify is moved aside to .trash-. Throws Error{kWriteFailed}; older checkpoints stay.
Vfs::Path save_checkpoint(Vfs& vfs, const Vfs::Path& run, int64_t step, std::span<const CheckpointFile> files);

// Throws Error{kBadData}, naming the file, unless all files of the MANIFEST are there with their size and hash.
void verify_checkpoint(Vfs& vfs, const Vfs::Path& checkpoint);

// Steps of the directories step-XXXXXXXX in `run`, ascending, valid or not.
std::vector<int64_t> checkpoint_steps(Vfs& vfs, const Vfs::Path& run);
Vfs::Path checkpoint_path(const Vfs::Path& run, int64_t step);

// The newest checkpoint that verifies; `complaints` receives why newer ones were passed over. Nothing when
// there are none; throws Error{kNoCheckpoint} when there are some but none verifies.
std::optional<Vfs::Path> newest_checkpoint(Vfs& vfs, const Vfs::Path& run, std::vector<std::string>& complaints);

// Keeps the newest `keep` checkpoints and the multiples of `milestone` (0: none); removes the others.
void prune_checkpoints(Vfs& vfs, const Vfs::Path& run, int64_t keep, int64_t milestone);

// Removes what an interrupted save or removal left behind: .tmp-* and .trash-*.
void remove_leftovers(Vfs& vfs, const Vfs::Path& run);

// Exclusive use of a run directory by one trainer, until destruction. Throws Error{kCannotCreate} when another
// process holds it.
class RunLock {
 public:
  explicit RunLock(const Vfs::Path& run);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int fd_;
};

}  // namespace bigbigan
