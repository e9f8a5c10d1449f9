// NumPy's .npy files: one array each, C order, little-endian; no pickles.
#pragma once

#include <string>
#include <vector>

#include "engine/io/vfs.h"
#include "kernels/common/dtype.h"

namespace bigbigan {

struct NpyArray {
  DType dtype = DType::kF32;  // f32, f64, u8, i32 or i64
  std::vector<int64_t> shape;
  std::vector<std::byte> data;

  [[nodiscard]] int64_t elems() const;
  // The elements as doubles.
  [[nodiscard]] std::vector<double> to_doubles() const;
};

// Throws Error{kNoInput}; Error{kBadData} for another format, dtype or order, or a size that does
// not fit.
NpyArray read_npy(Vfs& vfs, const Vfs::Path& path);
NpyArray parse_npy(std::span<const std::byte> file, const std::string& source);

// Writes `path` row by row: a temporary name until close().
class NpyWriter {
 public:
  // Rows of shape `row_shape`, `rows` in all.
  NpyWriter(Vfs& vfs, Vfs::Path path, DType dtype, int64_t rows,
            std::span<const int64_t> row_shape);
  ~NpyWriter();
  NpyWriter(const NpyWriter&) = delete;
  NpyWriter& operator=(const NpyWriter&) = delete;

  void append(std::span<const std::byte> rows);
  // Throws Error{kInternal} unless all rows have been appended.
  void close();

 private:
  void discard();

  Vfs& vfs_;
  Vfs::Path path_, temporary_;
  std::unique_ptr<WritableFile> file_;
  int64_t bytes_left_ = 0;
};

void write_npy(Vfs& vfs, const Vfs::Path& path, DType dtype, std::span<const int64_t> shape,
               std::span<const std::byte> data);

}  // namespace bigbigan
