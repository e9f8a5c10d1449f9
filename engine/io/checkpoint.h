// Checkpoints as directories that appear whole or not at all.
//
// Note [Checkpoint protocol]: files are written into a staging directory, each synced and hashed; a
// MANIFEST with sizes and XXH3-128 hashes is written last; the staging directory is synced and
// renamed to step-XXXXXXXX; the run directory is synced. Only then is the checkpoint acknowledged
// and an older one removed (renamed to .trash- first). The newest directory whose MANIFEST verifies
// is the latest: validity lies inside the directory, not in its name. A loader never deletes. The
// hash detects accidents, not tampering.
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

// Saves the files as `run`/step-<step>; returns its path once it is durable. A directory of that
// step that is already there is replaced: the caller knows that it does not verify. Throws
// Error{kWriteFailed}; older checkpoints stay.
Vfs::Path save_checkpoint(Vfs& vfs, const Vfs::Path& run, int64_t step,
                          std::span<const CheckpointFile> files);

// Throws Error{kBadData}, naming the file, unless all files of the MANIFEST are there with their
// size and hash.
void verify_checkpoint(Vfs& vfs, const Vfs::Path& checkpoint);

struct ManifestEntry {
  std::string hash, name;
  int64_t bytes = 0;
};
// The entries of a MANIFEST. Throws Error{kBadData}, naming `source`: another format, a wrong hash
// of its own, an entry that is not "<32 hexadecimal digits> <bytes> <plain file name>", a name
// twice.
std::vector<ManifestEntry> parse_manifest(std::string_view text, const std::string& source);

// Steps of the directories step-XXXXXXXX in `run`, ascending, valid or not.
std::vector<int64_t> checkpoint_steps(Vfs& vfs, const Vfs::Path& run);
Vfs::Path checkpoint_path(const Vfs::Path& run, int64_t step);

// The newest checkpoint that verifies; `complaints` receives why newer ones were passed over.
// Nothing when there are none; throws Error{kNoCheckpoint} when there are some but none verifies.
std::optional<Vfs::Path> newest_checkpoint(Vfs& vfs, const Vfs::Path& run,
                                           std::vector<std::string>& complaints);

// Of the checkpoints up to step `newest`, which is durable, keeps the last `keep` and the multiples
// of `milestone` (0: none) and removes the others. Later ones do not count: they did not verify
// when the run went back to an older one.
void prune_checkpoints(Vfs& vfs, const Vfs::Path& run, int64_t newest, int64_t keep,
                       int64_t milestone);

// Throws Error{kWriteFailed}, saying what is missing, where the disk of `run` has no room for
// `count` more checkpoints of `bytes` each.
void check_room(Vfs& vfs, const Vfs::Path& run, int64_t count, int64_t bytes);

// Removes what an interrupted save, removal or atomic write left behind in `run`.
void remove_leftovers(Vfs& vfs, const Vfs::Path& run);

}  // namespace bigbigan
