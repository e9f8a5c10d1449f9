// Small data sets on disk for tests.
#pragma once

#include <zlib.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/engine_io/scratch.h"

namespace bigbigan {

// An IDX file of bytes; `data` is as long as the sizes say unless a test wants damage.
inline std::string idx_file(const std::vector<uint32_t>& shape, const std::string& data) {
  std::string file("\0\0\x08", 3);
  file += static_cast<char>(shape.size());
  for (const uint32_t dim : shape) {
    for (const int shift : {24, 16, 8, 0}) file += static_cast<char>(dim >> shift);
  }
  return file + data;
}

// Bytes that differ from place to place.
inline std::string pixels_of(size_t n) {
  std::string text;
  for (size_t i = 0; i < n; ++i) text += static_cast<char>(i * 31 + i / 251);
  return text;
}

inline std::string labels_of(size_t n) {
  std::string text;
  for (size_t i = 0; i < n; ++i) text += static_cast<char>(i % 10);
  return text;
}

inline void write_gzip(const std::filesystem::path& path, const std::string& bytes) {
  const gzFile file = ::gzopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  const auto n = static_cast<unsigned>(bytes.size());
  REQUIRE(::gzwrite(file, bytes.data(), n) == static_cast<int>(n));
  REQUIRE(::gzclose(file) == Z_OK);
}

// `n` images of 28x28 and labels in the names that open_dataset looks for.
inline void write_idx_folder(const std::filesystem::path& folder, uint32_t n,
                             const std::string& prefix = "train") {
  std::filesystem::create_directories(folder);
  write_raw(folder / (prefix + "-images-idx3-ubyte"), idx_file({n, 28, 28}, pixels_of(n * 784)));
  write_raw(folder / (prefix + "-labels-idx1-ubyte"), idx_file({n}, labels_of(n)));
}

}  // namespace bigbigan
