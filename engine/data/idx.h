// IDX files (MNIST and its kin): big-endian header, u8 data; plain or gzip.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/io/vfs.h"

namespace bigbigan {

struct IdxArray {
  std::vector<int64_t> shape;
  std::vector<uint8_t> data;
};

// Throws Error{kBadData} unless `bytes` is exactly one u8 array of rank 1 to 4; gzip is recognised
// by its content.
IdxArray parse_idx(std::span<const std::byte> bytes, const std::string& source);

// Reads `path`. Throws Error{kNoInput} or Error{kBadData}.
IdxArray read_idx(Vfs& vfs, const Vfs::Path& path);

}  // namespace bigbigan
