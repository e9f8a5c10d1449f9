#include "engine/io/png.h"

#include <png.h>

#include <algorithm>

#include "kernels/common/error.h"

namespace bigbigan {

// libpng's simplified interface: no setjmp in sight.
std::vector<std::byte> encode_png(const Image& image) {
  check(image.channels == 1 || image.channels == 3, "png: {} channels, expected 1 or 3",
        image.channels);
  check(static_cast<int64_t>(image.pixels.size()) == image.height * image.width * image.channels,
        "png: {} bytes for {}x{}x{}", image.pixels.size(), image.height, image.width,
        image.channels);
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  header.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(header);
  std::vector<std::byte> out(bytes);
  if (png_image_write_to_memory(&header, out.data(), &bytes, 0, image.pixels.data(), 0, nullptr) ==
      0) {
    fail(ExitCode::kInternal, "png: {}", header.message);
  }
  out.resize(bytes);
  return out;
}

void write_png(Vfs& vfs, const Vfs::Path& path, const Image& image) {
  write_file_atomic(vfs, path, encode_png(image));
}

Image image_grid(std::span<const uint8_t> pixels, int64_t n, int64_t height, int64_t width,
                 int64_t channels, int64_t columns, int64_t gap) {
  check(columns > 0 && static_cast<int64_t>(pixels.size()) == n * height * width * channels,
        "image grid: {} bytes for {} images of {}x{}x{}", pixels.size(), n, height, width,
        channels);
  const int64_t rows = std::max<int64_t>(1, (n + columns - 1) / columns);
  Image grid{rows * (height + gap) + gap, columns * (width + gap) + gap, channels, {}};
  grid.pixels.assign(grid.height * grid.width * channels, 255);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t top = gap + i / columns * (height + gap),
                  left = gap + i % columns * (width + gap);
    for (int64_t y = 0; y < height; ++y) {
      std::copy_n(pixels.begin() + (i * height + y) * width * channels, width * channels,
                  grid.pixels.begin() + ((top + y) * grid.width + left) * channels);
    }
  }
  return grid;
}

Image enlarged(const Image& image, int64_t factor) {
  Image out{image.height * factor, image.width * factor, image.channels, {}};
  out.pixels.reserve(out.height * out.width * out.channels);
  for (int64_t y = 0; y < out.height; ++y) {
    for (int64_t x = 0; x < out.width; ++x) {
      const auto from =
          image.pixels.begin() + (y / factor * image.width + x / factor) * image.channels;
      out.pixels.insert(out.pixels.end(), from, from + image.channels);
    }
  }
  return out;
}

}  // namespace bigbigan
