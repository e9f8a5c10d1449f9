// Batch moments: large means, merging, empty parts, running statistics.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "engine/util/thread_pool.h"
#include "kernels/norm/batch_norm.h"
#include "tests/harness/op_case.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

struct Moments {
  ThreadPool pool{2};
  HostAllocator allocator;
  Context ctx{.exec = CpuExec{&pool}, .allocator = &allocator};
  CpuExec ex{&pool};

  Tensor doubles(const Shape& shape) { return Tensor::zeros(ctx, shape, DType::kF64); }
  std::vector<double> of(ConstView x) {
    const Tensor moments = doubles({1 + 2 * x.shape[-1]});
    batch_moments(ex, x, moments, doubles({batch_moments_scratch_elems(x.shape)}));
    return read(moments);
  }
};

// Rows of `channels` normal numbers, channel c around `mean` + c.
std::vector<double> rows(int64_t count, int64_t channels, double mean) {
  std::mt19937_64 random(count);
  std::vector<double> values(count * channels);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] =
        static_cast<float>(mean + static_cast<double>(i % channels) + standard_normal(random));
  }
  return values;
}

// Two passes in long double: [count, mean, centred sum of squares].
std::vector<double> by_hand(const std::vector<double>& x, int64_t channels) {
  const auto count = static_cast<long double>(x.size()) / channels;
  std::vector<double> moments(1 + 2 * channels);
  moments[0] = static_cast<double>(count);
  for (int64_t c = 0; c < channels; ++c) {
    long double sum = 0, squares = 0;
    for (size_t i = c; i < x.size(); i += channels) sum += x[i];
    for (size_t i = c; i < x.size(); i += channels) {
      squares += (x[i] - sum / count) * (x[i] - sum / count);
    }
    moments[1 + c] = static_cast<double>(sum / count);
    moments[1 + channels + c] = static_cast<double>(squares);
  }
  return moments;
}

}  // namespace

TEST_CASE("moments: a mean of 1e4 and a deviation of 1 keep their digits") {
  Moments m;
  for (const int64_t channels : {1, 3, 31, 300}) {
    for (const double mean : {0.0, 1e4, -1e4}) {
      const std::vector<double> x = rows(3333, channels, mean), expected = by_hand(x, channels);
      for (const DType dtype : {DType::kF64, DType::kF32}) {
        const std::vector<double> found = m.of(tensor_of(m.ctx, {3333, channels}, dtype, x));
        CHECK(found[0] == 3333);
        for (int64_t c = 0; c < channels; ++c) {
          INFO(channels << " channels, mean " << mean << ", channel " << c);
          // The mean is as good as its own rounding allows; in f32 x is, and differences of x are,
          // exact.
          const double eps = dtype == DType::kF64 ? 1e-14 : 1e-6;
          CHECK(std::abs(found[1 + c] - expected[1 + c]) <=
                eps + 2e-15 * std::abs(expected[1 + c]));
          CHECK(found[1 + channels + c] == Approx(expected[1 + channels + c]).epsilon(1e2 * eps));
        }
      }
    }
  }
}

TEST_CASE("moments: merging parts is as good as one batch, empty parts are skipped") {
  Moments m;
  const int64_t channels = 5;
  const std::vector<double> x = rows(40, channels, 1e4), expected = by_hand(x, channels);
  for (const std::vector<int64_t>& parts : std::vector<std::vector<int64_t>>{
           {40}, {0, 40}, {25, 15}, {1, 0, 39}, {10, 10, 10, 10}, {0, 0, 0}}) {
    const auto ranks = static_cast<int64_t>(parts.size());
    const Tensor gathered = m.doubles({ranks, 1 + 2 * channels}),
                 merged = m.doubles({1 + 2 * channels}), statistics = m.doubles({2, channels});
    int64_t first = 0;
    for (int64_t r = 0; r < ranks; ++r) {
      const auto begin = x.begin() + first * channels;
      const Tensor part = tensor_of(m.ctx, {parts[r], channels}, DType::kF64,
                                    std::vector<double>(begin, begin + parts[r] * channels));
      write(gathered.slice(r, r + 1), m.of(part));
      first += parts[r];
    }
    merged_statistics(m.ex, gathered, {.eps = 0.5, .moments = merged, .statistics = statistics});
    const std::vector<double> found = read(merged), finished = read(statistics);
    CHECK(found[0] == first);
    for (int64_t c = 0; c < channels; ++c) {
      const double mean = first == 0 ? 0 : expected[1 + c];
      const double variance = expected[1 + channels + c] / 40;
      CHECK(found[1 + c] == Approx(mean).epsilon(1e-11));
      CHECK(found[1 + channels + c] == Approx(first == 0 ? 0 : 40 * variance).epsilon(1e-11));
      CHECK(finished[c] == found[1 + c]);
      CHECK(finished[channels + c] ==
            Approx(first == 0 ? 0 : 1 / std::sqrt(variance + 0.5)).epsilon(1e-11));
    }
  }
}

TEST_CASE("moments: running statistics follow the batch, and no empty or broken one") {
  Moments m;
  const auto running = [&](const std::vector<double>& moments, const Tensor& shift = {}) {
    const Tensor mean = tensor_of(m.ctx, {2}, DType::kF32, std::vector<double>{1, 2});
    const Tensor variance = tensor_of(m.ctx, {2}, DType::kF32, std::vector<double>{3, 4});
    merged_statistics(m.ex, tensor_of(m.ctx, {1, 5}, DType::kF64, moments),
                      {.moments = m.doubles({5}),
                       .statistics = m.doubles({2, 2}),
                       .running_mean = mean,
                       .running_var = variance,
                       .shift = shift,
                       .momentum = 0.75});
    std::vector<double> both = read(mean);
    for (const double v : read(variance)) both.push_back(v);
    return both;
  };
  // Four rows: mean (5, 6), centred squares (8, 12), so biased variances 2 and 3.
  CHECK(running({4, 5, 6, 8, 12}) == std::vector<double>{2, 3, 2.75, 3.75});
  CHECK(running({0, 0, 0, 0, 0}) == std::vector<double>{1, 2, 3, 4});
  const Tensor shift = tensor_of(m.ctx, {2}, DType::kF32, std::vector<double>{4, -8});
  CHECK(running({4, 5, 6, 8, 12}, shift) == std::vector<double>{3, 1, 2.75, 3.75});
  CHECK(running({0, 0, 0, 0, 0}, shift) == std::vector<double>{1, 2, 3, 4});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(running({4, nan, 6, nan, 12}) == std::vector<double>{1, 3, 3, 3.75});
}
