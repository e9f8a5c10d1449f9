// TensorBoard event files: scalars and images by step.
#pragma once

#include <string>

#include "engine/io/png.h"
#include "engine/io/vfs.h"

namespace bigbigan {

// CRC-32C (Castagnoli) of bytes.
uint32_t crc32c(std::span<const std::byte> bytes);

class TensorboardWriter {
 public:
  // A new file events.out.tfevents.<seconds>.bigbigan[.n] in `directory`; times are seconds since
  // 1970.
  TensorboardWriter(Vfs& vfs, const Vfs::Path& directory, double wall_time);
  void scalar(const std::string& tag, int64_t step, double value, double wall_time);
  void image(const std::string& tag, int64_t step, const Image& image, double wall_time);

 private:
  void record(const std::string& payload);
  std::unique_ptr<WritableFile> file_;
};

}  // namespace bigbigan
