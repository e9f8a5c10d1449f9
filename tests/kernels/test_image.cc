// Pixels to network input and back, the pools' treatment of ties and borders, and NaN in maxima.
#include "engine/ops/image.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/ops/conv.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/spatial.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

struct Images {
  HostAllocator allocator;
  Context ctx{.exec = CpuExec{}, .allocator = &allocator, .dtype = DType::kF32};

  Tensor bytes(const Shape& shape, const std::vector<uint8_t>& values) {
    Tensor t = Tensor::empty(ctx, shape, DType::kU8);
    std::copy(values.begin(), values.end(), t.as<uint8_t>());
    return t;
  }
};

const double kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

TEST_CASE("images: every byte comes back, and the ends are exact") {
  Images images;
  std::vector<uint8_t> all(256);
  std::iota(all.begin(), all.end(), uint8_t{0});
  for (const DType dtype : {DType::kF32, DType::kF64}) {
    images.ctx.dtype = dtype;
    const Tensor x = normalize_image(images.ctx, images.bytes({1, 16, 16, 1}, all), Tensor());
    const std::vector<double> values = read(x);
    CHECK(values[0] == -1);
    CHECK(values[255] == 1);
    CHECK(values[51] == Approx(51 / 127.5 - 1));
    const Tensor back = denormalize_image(images.ctx, x);
    CHECK(std::equal(all.begin(), all.end(), back.as<uint8_t>()));
  }
}

TEST_CASE("images: flipped rows run right to left, channels do not") {
  Images images;
  const std::vector<uint8_t> pixels = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};  // (2, 1, 3, 2)
  const Tensor flip = images.bytes({2}, {0, 1});
  const Tensor x = normalize_image(images.ctx, images.bytes({2, 1, 3, 2}, pixels), flip);
  const Tensor back = denormalize_image(images.ctx, x);
  const std::vector<uint8_t> expected = {0, 1, 2, 3, 4, 5, 10, 11, 8, 9, 6, 7};
  CHECK(std::equal(expected.begin(), expected.end(), back.as<uint8_t>()));
}

TEST_CASE("images: values outside [-1, 1] are clipped, NaN is black") {
  Images images;
  const Tensor x = tensor_of(images.ctx, {1, 1, 5, 1}, DType::kF32,
                             std::vector<double>{-7.0, 1.5, kNan, -0.0, 1e30});
  const Tensor y = denormalize_image(images.ctx, x);
  const std::vector<uint8_t> expected = {0, 255, 0, 128, 255};
  CHECK(std::equal(expected.begin(), expected.end(), y.as<uint8_t>()));
}

TEST_CASE("images: an empty batch") {
  Images images;
  const Tensor x =
      normalize_image(images.ctx, images.bytes({0, 4, 4, 1}, {}), images.bytes({0}, {}));
  CHECK(x.shape() == Shape{0, 4, 4, 1});
  CHECK(denormalize_image(images.ctx, x).elems() == 0);
}

TEST_CASE("max pool: the first of equals gets the gradient, a zero of the border takes it away") {
  Images images;
  Tape tape;
  const Context taped = images.ctx.with_tape(&tape);
  // One 3x3 window over the 2x2 image and the zeros above and to the left of it.
  const auto pooled = [&](const std::vector<double>& values) {
    const Var x = tape.input(tensor_of(images.ctx, {1, 2, 2, 1}, DType::kF32, values));
    const Var y = max_pool3x3s2(taped, x);
    CHECK(y.shape() == Shape{1, 1, 1, 1});
    tape.seed(y, tensor_of(images.ctx, {1, 1, 1, 1}, DType::kF32, std::vector<double>{5}));
    return std::pair(x, read(y.value)[0]);
  };
  const auto tied = pooled({3, 2, 3, 3});
  const auto below_zero = pooled({-1, -2, -3, -4});
  tape.backward(images.ctx);
  CHECK(tied.second == 3);
  CHECK(read(tape.gradient(tied.first)) == std::vector<double>{5, 0, 0, 0});
  CHECK(below_zero.second == 0);
  CHECK(read(tape.gradient(below_zero.first)) == std::vector<double>{0, 0, 0, 0});
}

TEST_CASE("a NaN is not lost in a ReLU or a maximum") {
  Images images;
  for (size_t at = 0; at < 4; ++at) {
    std::vector<double> values = {1, 2, 3, 4};
    values[at] = kNan;
    const Var x = tensor_of(images.ctx, {1, 2, 2, 1}, DType::kF32, values);
    CHECK(std::isnan(read(relu(images.ctx, x).value)[at]));
    CHECK(std::isnan(read(max_pool2x2(images.ctx, x).value)[0]));
    CHECK(std::isnan(read(max_pool3x3s2(images.ctx, x).value)[0]));
  }
}

TEST_CASE("a NaN is not lost in the ReLU of a convolution") {
  // Direct convolutions of few and of many channels, 1x1 ones, strides, and images in two chunks.
  struct Sizes {
    int64_t n, side, c, k, kernel, stride;
  };
  for (const auto& [n, side, c, k, kernel, stride] : {Sizes{1, 5, 1, 3, 3, 1},
                                                      {2, 8, 16, 8, 3, 1},
                                                      {3, 8, 32, 64, 3, 2},
                                                      {2, 6, 40, 24, 1, 1},
                                                      {17, 16, 64, 64, 3, 1},
                                                      {2, 9, 3, 16, 7, 2}}) {
    for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16}) {
      Images images;
      images.ctx.dtype = dtype;
      const auto filled = [&](const Shape& shape, double value, double last) {
        std::vector<double> values(shape.elems(), value);
        values.back() = last;
        return Var(tensor_of(images.ctx, shape, dtype, values));
      };
      const Var w = filled({k, kernel, kernel, c}, 0.5, 0.5);
      // From the last pixel of the images, and from the last bias.
      for (const bool from_bias : {false, true}) {
        const Var x = filled({n, side, side, c}, -1, from_bias ? -1 : kNan);
        const Var bias = filled({k}, 1, from_bias ? kNan : 1);
        const ConvOptions plain{.stride = stride, .pad = kernel / 2};
        ConvOptions rectified = plain;
        rectified.relu = true;
        const std::vector<double> before = read(conv2d(images.ctx, x, w, bias, plain).value);
        const std::vector<double> after = read(conv2d(images.ctx, x, w, bias, rectified).value);
        INFO(name_of(dtype) << " n " << n << " side " << side << " c " << c << " k " << k
                            << " kernel " << kernel << " stride " << stride << " bias "
                            << from_bias);
        const auto is_nan = [](double v) { return std::isnan(v); };
        CHECK(std::count_if(before.begin(), before.end(), is_nan) > 0);
        CHECK(std::equal(before.begin(), before.end(), after.begin(), [](double a, double b) {
          return std::isnan(a) ? std::isnan(b) : b == std::max(a, 0.0);
        }));
      }
    }
  }
}
