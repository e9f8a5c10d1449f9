// Philox against published vectors, its keys, and the distributions made of it.
#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/ops/random.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

struct Draw {
  HostAllocator allocator;
  Context ctx{.exec = CpuExec{}, .allocator = &allocator, .dtype = DType::kF32};

  using Function = Tensor (*)(const Context&, const RandomKey&, const Tensor&, const Shape&);
  std::vector<double> operator()(Function draw, const RandomKey& key, int64_t first,
                                 const Shape& shape) {
    const Tensor sample = Tensor::empty(ctx, {1}, DType::kI64);
    *sample.as<int64_t>() = first;
    return read(draw(ctx, key, sample, shape));
  }
};

double mean_of(const std::vector<double>& values, int power) {
  double sum = 0;
  for (const double v : values) sum += std::pow(v, power);
  return sum / static_cast<double>(values.size());
}

double correlation(const std::vector<double>& a, const std::vector<double>& b, size_t shift) {
  double sum = 0;
  for (size_t i = 0; i + shift < a.size(); ++i) sum += a[i] * b[i + shift];
  return sum / static_cast<double>(a.size() - shift);
}

// Largest distance between the empirical and the true distribution function.
template <class F>
double kolmogorov_distance(std::vector<double> values, const F& probability_below) {
  std::sort(values.begin(), values.end());
  double worst = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double p = probability_below(values[i]);
    const auto n = static_cast<double>(values.size());
    worst = std::max({worst, std::abs(p - static_cast<double>(i) / n),
                      std::abs(p - static_cast<double>(i + 1) / n)});
  }
  return worst;
}

}  // namespace

// Random123's kat_vectors, philox4x32 10. The counter is (block, sample low, sample high, stream).
TEST_CASE("philox: known answers") {
  struct Vector {
    uint64_t seed, sample;
    uint32_t block, stream;
    std::array<uint32_t, 4> words;
  };
  const std::vector<Vector> vectors = {
      {0, 0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {~0ULL, ~0ULL, ~0U, ~0U, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {0x299f31d0a4093822,
       0x13198a2e85a308d3,
       0x243f6a88,
       0x03707344,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (const Vector& v : vectors) {
    const PhiloxWords found =
        philox(v.seed, static_cast<RandomStream>(v.stream), v.sample, v.block);
    for (int i = 0; i < 4; ++i) CHECK(found.word[i] == v.words[i]);
  }
}

TEST_CASE("random: a number is a function of seed, stream, global sample and element") {
  Draw draw;
  const RandomKey key{7, RandomStream::kLatent};
  for (const Draw::Function function :
       {Draw::Function(random_normal), Draw::Function(random_uniform)}) {
    const int64_t width = 13;  // not a multiple of a block of 4
    const std::vector<double> all = draw(function, key, 100, {6, width});
    const std::vector<double> part = draw(function, key, 102, {3, width});
    CHECK(std::equal(part.begin(), part.end(), all.begin() + 2 * width));
    CHECK(draw(function, key, 100, {6, 5})[5] ==
          all[width]);  // a narrower row is the row's beginning
    CHECK(draw(function, {8, RandomStream::kLatent}, 100, {6, width}) != all);
    CHECK(draw(function, {7, RandomStream::kEncoderNoise}, 100, {6, width}) != all);
    CHECK(draw(function, key, 100, {0, width}).empty());
    // Sample numbers beyond 32 bits are not cut off.
    CHECK(draw(function, key, (1LL << 32) + 100, {6, width}) != all);
    draw.ctx.dtype = DType::kF64;
    CHECK(draw(function, key, 100, {6, width}) == all);
    draw.ctx.dtype = DType::kF32;
  }
}

// Bounds are five standard errors of a sample of n.
TEST_CASE("random: normal moments and distribution") {
  Draw draw;
  const std::vector<double> x = draw(random_normal, {1, RandomStream::kLatent}, 0, {4096, 100});
  const auto n = static_cast<double>(x.size());
  CHECK(std::abs(mean_of(x, 1)) < 5 / std::sqrt(n));
  CHECK(std::abs(mean_of(x, 2) - 1) < 5 * std::sqrt(2 / n));
  CHECK(std::abs(mean_of(x, 3)) < 5 * std::sqrt(15 / n));
  CHECK(std::abs(mean_of(x, 4) - 3) < 5 * std::sqrt(96 / n));
  CHECK(kolmogorov_distance(x, [](double v) { return 0.5 * std::erfc(-v / std::sqrt(2.0)); }) <
        1.95 / std::sqrt(n));
  for (const size_t shift : {1, 2, 3, 4, 100}) {  // the pair of a word, the block, the next sample
    CHECK(std::abs(correlation(x, x, shift)) < 5 / std::sqrt(n));
  }
  const std::vector<double> other =
      draw(random_normal, {1, RandomStream::kEncoderNoise}, 0, {4096, 100});
  CHECK(std::abs(correlation(x, other, 0)) < 5 / std::sqrt(n));
}

TEST_CASE("random: uniform range and distribution") {
  Draw draw;
  const std::vector<double> x = draw(random_uniform, {1, RandomStream::kLatent}, 0, {4096, 100});
  const auto n = static_cast<double>(x.size());
  CHECK(*std::min_element(x.begin(), x.end()) >= -1);
  CHECK(*std::max_element(x.begin(), x.end()) < 1);
  CHECK(std::abs(mean_of(x, 1)) < 5 * std::sqrt(1 / (3 * n)));
  CHECK(kolmogorov_distance(x, [](double v) { return (v + 1) / 2; }) < 1.95 / std::sqrt(n));
}
