#include <png.h>

#include <catch2/catch.hpp>

#include "engine/io/png.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;

namespace {

// The pixels by libpng's reader, in the channels the file has.
Image decode(std::span<const std::byte> bytes) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_memory(&header, bytes.data(), bytes.size()) != 0);
  Image image{header.height, header.width, header.format == PNG_FORMAT_GRAY ? 1 : 3, {}};
  REQUIRE((header.format == PNG_FORMAT_GRAY || header.format == PNG_FORMAT_RGB));
  image.pixels.resize(PNG_IMAGE_SIZE(header));
  REQUIRE(png_image_finish_read(&header, nullptr, image.pixels.data(), 0, nullptr) != 0);
  return image;
}

Image picture(int64_t height, int64_t width, int64_t channels) {
  Image image{height, width, channels, {}};
  for (int64_t i = 0; i < height * width * channels; ++i) {
    image.pixels.push_back(static_cast<uint8_t>(i * 37 + i / 256));
  }
  return image;
}

}  // namespace

TEST_CASE("png: another reader sees the same pixels") {
  for (const int64_t channels : {1, 3}) {
    for (const auto& [height, width] : {std::pair(1, 1), std::pair(33, 7), std::pair(64, 300)}) {
      const Image image = picture(height, width, channels);
      const Image back = decode(encode_png(image));
      REQUIRE(back.height == height);
      REQUIRE(back.width == width);
      REQUIRE(back.channels == channels);
      REQUIRE(back.pixels == image.pixels);
    }
  }
}

TEST_CASE("png: a file is replaced whole") {
  ScratchFolder scratch;
  PosixVfs vfs;
  write_png(vfs, scratch / "a.png", picture(2, 2, 1));
  write_png(vfs, scratch / "a.png", picture(3, 5, 3));
  REQUIRE(decode(read_bytes(vfs, scratch / "a.png", 1 << 20)).pixels == picture(3, 5, 3).pixels);
  REQUIRE(scratch.entries() == 1);
}

TEST_CASE("png: a picture that does not fit its sizes is our own mistake") {
  REQUIRE(error_of([] {
            encode_png({2, 2, 1, std::vector<uint8_t>(3)});
          })->code() == ExitCode::kInternal);
  REQUIRE(error_of([] {
            encode_png({1, 1, 2, std::vector<uint8_t>(2)});
          })->code() == ExitCode::kInternal);
}

TEST_CASE("png: a grid puts images in rows, with a white gap around each") {
  const std::vector<uint8_t> pixels = {1, 2, 3};  // three images of one pixel
  const Image grid = image_grid(pixels, 3, 1, 1, 1, 2, 1);
  REQUIRE(grid.height == 5);
  REQUIRE(grid.width == 5);
  constexpr uint8_t w = 255;
  REQUIRE(grid.pixels == std::vector<uint8_t>{w, w, w, w, w, w, 1, w, 2, w, w, w, w,
                                              w, w, w, 3, w, w, w, w, w, w, w, w});
}

TEST_CASE("png: enlarging repeats pixels") {
  const Image big = enlarged({1, 2, 3, {1, 2, 3, 4, 5, 6}}, 2);
  REQUIRE(big.pixels == std::vector<uint8_t>{1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6,
                                             1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6});
}
