// PNG images and grids of images.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/io/vfs.h"

namespace bigbigan {

// Rows of pixels of 1 (gray) or 3 (RGB) bytes.
struct Image {
  int64_t height = 0, width = 0, channels = 1;
  std::vector<uint8_t> pixels;
};

std::vector<std::byte> encode_png(const Image& image);
void write_png(Vfs& vfs, const Vfs::Path& path, const Image& image);

// `n` images (N, H, W, C) side by side, `columns` to a row, `gap` white pixels around each; an
// incomplete last row stays white.
Image image_grid(std::span<const uint8_t> pixels, int64_t n, int64_t height, int64_t width,
                 int64_t channels, int64_t columns, int64_t gap = 2);

// Each pixel repeated factor x factor.
Image enlarged(const Image& image, int64_t factor);

}  // namespace bigbigan
