// How the CUDA launchers of spectral norm cut a weight (rows, columns) into blocks, and where their
// partial sums lie. Host code: the size of the scratch is asked for without CUDA.
#pragma once

#include <cstdint>

namespace bigbigan {

// u W: a block adds up so many rows, 16 per thread, so that partial sums are 1 % of the traffic.
inline constexpr int64_t kSpectralRows = 128;
// Columns or rows whose results, and the sum of their squares, one block completes.
inline constexpr int64_t kSpectralTile = 32;

// f64 elements of scratch, in this order: u W per block of rows, sums of squares of u W per tile of
// columns, v W^T, sums of its squares per tile of rows.
struct SpectralNormLayout {
  int64_t rows, columns;

  static int64_t parts(int64_t n, int64_t per_part) { return (n + per_part - 1) / per_part; }
  [[nodiscard]] int64_t row_blocks() const { return parts(rows, kSpectralRows); }
  [[nodiscard]] int64_t column_tiles() const { return parts(columns, kSpectralTile); }
  [[nodiscard]] int64_t row_tiles() const { return parts(rows, kSpectralTile); }
  [[nodiscard]] int64_t elems() const {
    return row_blocks() * columns + column_tiles() + rows + row_tiles();
  }
};

}  // namespace bigbigan
