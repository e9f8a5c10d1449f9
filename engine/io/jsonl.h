// stats.jsonl: one flat JSON object per line, appended; a torn last line is tolerated.
#pragma once

#include "engine/io/flat_json.h"
#include "engine/io/vfs.h"

namespace bigbigan {

class JsonlWriter {
 public:
  // Appends to `path`. Lines whose "step" is greater than `last_step` (a resumed run writes them
  // again) and lines that cannot be read are dropped first, atomically.
  JsonlWriter(Vfs& vfs, const Vfs::Path& path, int64_t last_step);
  void write(const FlatJson& object);
  // The lines so far survive a power cut: before a checkpoint, so that the log has no gap behind
  // it.
  void sync() { file_->sync(); }

 private:
  std::unique_ptr<WritableFile> file_;
};

// All whole lines. Throws Error{kBadData} for one that is not a flat JSON object.
std::vector<FlatJson> read_jsonl(Vfs& vfs, const Vfs::Path& path);

}  // namespace bigbigan
