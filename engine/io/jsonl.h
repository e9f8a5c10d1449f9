// stats.jsonl: one flat JSON object per line, appended; a torn last line is tolerated.
#pragma once

#include "engine/io/flat_json.h"
#include "engine/io/vfs.h"

namespace bigbigan {

class JsonlWriter {
 public:
  // Appends to `path`. Lines whose "step" is greater than `last_step`, and a torn last line, are dropped first
  // (a resumed run writes them again), atomically.
  JsonlWriter(Vfs& vfs, const Vfs::Path& path, int64_t last_step);
  void write(const FlatJson& object);

 private:
  std::unique_ptr<WritableFile> file_;
};

// All whole lines.
std::vector<FlatJson> read_jsonl(Vfs& vfs, const Vfs::Path& path);

}  // namespace bigbigan
