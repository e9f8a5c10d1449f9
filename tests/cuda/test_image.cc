// Pixels and network images on CUDA against the CPU: the same bits.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/image/normalize.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

TEST_CASE("normalize and mirror images") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  // Rows of whole packs whose pixels are not, of one channel, of none.
  for (const Shape& shape : {Shape{0, 2, 4, 3},
                             {2, 0, 4, 3},
                             {1, 1, 1, 1},
                             {3, 2, 5, 3},
                             {3, 2, 4, 3},
                             {4, 3, 8, 1},
                             {2, 5, 6, 4},
                             {5, 9, 32, 3}}) {
    Twins twins;
    std::vector<uint8_t> pixels(shape.elems()), flips(shape[0]);
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 37 + i / 256);
    for (size_t i = 0; i < flips.size(); ++i) flips[i] = i % 2;
    const Twin x = twins.of_integers(shape, pixels), flip = twins.of_integers({shape[0]}, flips);
    const Twin plain = twins.fresh(shape, dtype), mirrored = twins.fresh(shape, dtype);
    twins.run([&](const auto& ex, auto at) {
      normalize_image(ex, at(x), {}, at(plain));
      normalize_image(ex, at(x), at(flip), at(mirrored));
    });
    INFO(to_string(shape));
    twins.require_equal(plain);
    twins.require_equal(mirrored);
  }
}

TEST_CASE("images as pixels") {
  for (const int64_t n : {0, 1, 3, 31, 33, 2051}) {
    Twins twins;
    const Twin x = twins.normal({n}, DType::kF32), y = twins.fresh({n}, DType::kU8);
    twins.run([&](const auto& ex, auto at) { denormalize_image(ex, at(x), at(y)); });
    INFO(n);
    twins.require_equal(y);
  }
  Twins twins;
  const Twin x = twins.of({6}, DType::kF32,
                          std::vector<double>{-1, 1, std::nan(""), INFINITY, -INFINITY, 0.99});
  const Twin y = twins.fresh({6}, DType::kU8);
  twins.run([&](const auto& ex, auto at) { denormalize_image(ex, at(x), at(y)); });
  std::vector<uint8_t> pixels(6);
  y.cuda.read(pixels.data());
  REQUIRE(pixels == std::vector<uint8_t>{0, 255, 0, 255, 0, 254});
}
