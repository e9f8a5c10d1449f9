// Batch norm and its moments on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/norm/batch_norm.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

int64_t rows_of(const Shape& x) { return x.elems() / x[-1]; }

struct Statistics {
  Twin moments, statistics;
};

// Moments of x, and statistics with the same bits on both sides.
Statistics statistics_of(Twins& twins, const Twin& x) {
  const Shape& shape = x.cpu.shape();
  const int64_t c = shape[-1];
  const Twin moments = twins.fresh({1 + 2 * c}, DType::kF64);
  const Twin scratch = twins.fresh({batch_moments_scratch_elems(shape)}, DType::kF64);
  const Twin statistics = twins.fresh({2, c}, DType::kF64);
  twins.run([&](const auto& ex, auto at) {
    batch_statistics(ex, at(x), {.eps = 1e-4, .moments = at(moments), .statistics = at(statistics)},
                     at(scratch));
  });
  twins.require_close(statistics, 1e-4);
  return {twins.of({1 + 2 * c}, DType::kF64, read(moments.cpu)),
          twins.of({2, c}, DType::kF64, read(statistics.cpu))};
}

struct Options {
  int gain, bias;  // rank; 0: absent
  bool relu, upsample, accumulate;
};

std::string name_of(const Options& o) {
  return "gain rank " + std::to_string(o.gain) + ", bias rank " + std::to_string(o.bias) +
         (o.relu ? ", relu" : "") + (o.upsample ? ", upsample" : "") +
         (o.accumulate ? ", accumulate" : "");
}

// A gain or bias of the rank; tensors of rank 0 are not read.
Twin parameter(Twins& twins, int rank, const Shape& x, DType dtype) {
  return twins.normal(rank == 2 ? Shape{x[0], x[-1]} : Shape{x[-1]}, dtype);
}

void check_batch_norm(Twins& twins, const Twin& x, const Statistics& s, const Options& o) {
  const Shape shape = x.cpu.shape();
  const DType dtype = x.cpu.dtype();
  const int64_t n = shape[0], c = shape[-1], pixels = shape.rank() == 4 ? shape[1] * shape[2] : 1;
  const Shape out = o.upsample ? Shape{n, 2 * shape[1], 2 * shape[2], c} : shape;
  const Twin gain = parameter(twins, o.gain, shape, dtype);
  const Twin bias = parameter(twins, o.bias, shape, dtype);
  const Twin y = twins.fresh(out, dtype), d_y = twins.normal(out, dtype);
  const Twin sums = twins.fresh({n, 2, c}, DType::kF64), totals = twins.fresh({2, c}, DType::kF64);
  const Twin d_x = twins.normal(shape, dtype), d_x_stored = twins.fresh(shape, dtype);
  const Twin d_gain = parameter(twins, o.gain, shape, dtype);
  const Twin d_bias = parameter(twins, o.bias, shape, dtype);
  // Of a parameter in bf16 the gradient may be f32.
  const Twin d_bias_alone = parameter(twins, o.bias, shape, DType::kF32);
  const Twin of_bias = twins.fresh({2, c}, DType::kF64), of_none = twins.fresh({2, c}, DType::kF64);
  twins.run([&](const auto& ex, auto at) {
    const BatchNormArgs args{.x = at(x),
                             .statistics = at(s.statistics),
                             .gain = o.gain != 0 ? at(gain) : View{},
                             .bias = o.bias != 0 ? at(bias) : View{},
                             .gain_offset = o.gain == 2 ? 1.0 : 0.0,
                             .relu = o.relu,
                             .upsample = o.upsample};
    batch_norm_apply(ex, args, at(y));
    batch_norm_backward_sums(ex, args, at(d_y), at(sums));
    const BatchNormGradient to_gain{at(d_gain), o.accumulate}, to_bias{at(d_bias), o.accumulate};
    batch_norm_backward_totals(ex, args, at(sums), at(totals), to_gain, to_bias);
    batch_norm_backward_totals(ex, args, at(sums), at(of_bias), {}, {at(d_bias_alone), false});
    batch_norm_backward_totals(ex, args, at(sums), at(of_none), {}, {});
    batch_norm_backward_x(ex, args, at(d_y), at(totals), at(s.moments), at(d_x), o.accumulate);
    batch_norm_backward_x(ex, args, at(d_y), at(totals), {}, at(d_x_stored), false);
  });
  INFO(to_string(shape) << " " << name_of(dtype) << ", " << name_of(o));
  for (const Twin& t : {y, d_x_stored}) twins.require_close(t, sum_tolerance(dtype));
  // The corrections may cancel all of the gradient, as they do for a batch of one.
  const double terms = std::max(twins.largest(d_x), twins.largest(d_x_stored));
  twins.require_within(d_x, sum_tolerance(dtype) * terms);
  // Summed in f32 at least; the CPU rounds the sum of four pixels to the storage type.
  const double summed = o.upsample ? sum_tolerance(dtype) : 0;
  twins.require_close(sums, std::max(summed, sum_tolerance(DType::kF32, pixels)));
  const double total = std::max(summed, sum_tolerance(DType::kF32, n * pixels));
  for (const Twin& t : {totals, of_bias, of_none}) twins.require_close(t, total);
  twins.require_close(d_bias_alone, total);
  for (const Twin& t : {d_gain, d_bias}) twins.require_close(t, total + sum_tolerance(dtype));
}

// Empty, one element, odd and even channels, several tiles of channels, several blocks of rows.
const std::vector<Shape> kImages = {{0, 3, 3, 8},    {2, 0, 3, 3},  {1, 1, 1, 1},   {2, 3, 5, 3},
                                    {3, 2, 2, 31},   {2, 5, 7, 8},  {3, 17, 9, 32}, {2, 3, 2, 264},
                                    {2, 33, 33, 33}, {1, 2, 2, 300}};
const std::vector<Shape> kRows = {{0, 5}, {1, 8}, {31, 3}, {33, 40}};

}  // namespace

TEST_CASE("batch moments") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  const double mean = GENERATE(0.0, 1e4);
  // Several blocks of rows, and several tiles of channels.
  for (const Shape& shape : std::vector<Shape>{{0, 3},
                                               {1, 1},
                                               {3, 31},
                                               {31, 33},
                                               {700, 96},
                                               {33, 600},
                                               {1500, 264},
                                               {70001, 1},
                                               {9001, 8},
                                               {2, 31, 33, 7},
                                               {5, 0}}) {
    Twins twins;
    const int64_t c = shape[-1], rows = c == 0 ? 0 : rows_of(shape);
    const Twin x = twins.normal(shape, dtype, 1.0, mean);
    const Twin moments = twins.fresh({1 + 2 * c}, DType::kF64);
    const Twin scratch = twins.fresh({batch_moments_scratch_elems(shape)}, DType::kF64);
    twins.run([&](const auto& ex, auto at) { batch_moments(ex, at(x), at(moments), at(scratch)); });
    const std::vector<double> found = read(moments.cuda), expected = read(moments.cpu);
    REQUIRE(found[0] == expected[0]);
    // A sum of differences of x, which are exact in f32: no part of the mean is lost.
    const double tolerance = sum_tolerance(DType::kF32, rows);
    for (int64_t i = 0; i < c; ++i) {
      const double m2 = expected[1 + c + i];
      INFO(to_string(shape) << " channel " << i << ", mean " << mean);
      const double deviation = std::sqrt(m2 / std::max(1.0, expected[0]));
      CHECK(std::abs(found[1 + i] - expected[1 + i]) <= tolerance * deviation);
      // The CPU takes distances from a mean rounded to f32.
      const double rounding = mean * 0x1p-24;
      CHECK(std::abs(found[1 + c + i] - m2) <= tolerance * m2 + expected[0] * rounding * rounding);
    }
  }
}

TEST_CASE("merged moments and statistics") {
  for (const int64_t c : {0, 1, 31, 33, 300}) {
    Twins twins;
    std::vector<double> sets;
    for (const int count : {0, 3, 0, 5, 1}) {
      sets.push_back(count);
      for (int64_t i = 0; i < 2 * c; ++i) sets.push_back(count == 0 ? 0 : 1e4 + double(i % 7));
    }
    const Twin gathered = twins.of({5, 1 + 2 * c}, DType::kF64, sets);
    const Twin none = twins.of({0, 1 + 2 * c}, DType::kF64, {});
    const Twin merged = twins.fresh({1 + 2 * c}, DType::kF64);
    const Twin empty = twins.fresh({1 + 2 * c}, DType::kF64);
    const Twin statistics = twins.fresh({2, c}, DType::kF64);
    const Twin of_empty = twins.fresh({2, c}, DType::kF64),
               stored = twins.fresh({2, c}, DType::kF64);
    const Twin mean = twins.normal({c}, DType::kF32);
    const Twin variance = twins.of({c}, DType::kF32, std::vector<double>(c, 0.3));
    const Twin shift = twins.normal({c}, DType::kF32), shifted = twins.fresh({2, c}, DType::kF64);
    twins.run([&](const auto& ex, auto at) {
      const auto merge = [&](const Twin& parts, const Twin& moments, const Twin& to) {
        merged_statistics(ex, at(parts),
                          {.eps = 1e-4, .moments = at(moments), .statistics = at(to)});
      };
      merge(gathered, merged, statistics);
      merge(none, empty, of_empty);
      statistics_of_stored(ex, at(mean), at(variance), {}, 1e-4, at(stored));
      statistics_of_stored(ex, at(mean), at(variance), at(shift), 1e-4, at(shifted));
    });
    for (const Twin& t : {merged, statistics, stored, shifted}) twins.require_close(t, 1e-13);
    twins.require_equal(empty);
    twins.require_equal(of_empty);
  }
}

TEST_CASE("running statistics follow the batch, and no empty or broken one") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinite = std::numeric_limits<double>::infinity();
  for (const std::vector<double>& moments :
       std::vector<std::vector<double>>{{4, 5, 6, 8, 12},
                                        {0, 0, 0, 0, 0},
                                        {4, nan, 6, nan, 12},
                                        {4, 5, -infinite, 8, infinite}}) {
    Twins twins;
    const Twin batch = twins.of({1, 5}, DType::kF64, moments);
    const Twin mean = twins.normal({2}, DType::kF32), variance = twins.normal({2}, DType::kF32);
    const Twin shift = twins.normal({2}, DType::kF32), merged = twins.fresh({5}, DType::kF64);
    const Twin statistics = twins.fresh({2, 2}, DType::kF64);
    twins.run([&](const auto& ex, auto at) {
      BatchStatistics out{.moments = at(merged),
                          .statistics = at(statistics),
                          .running_mean = at(mean),
                          .running_var = at(variance),
                          .momentum = 0.75};
      merged_statistics(ex, at(batch), out);
      out.shift = at(shift);
      merged_statistics(ex, at(batch), out);
    });
    for (const Twin& t : {mean, variance}) {
      twins.require_close(t, std::numeric_limits<float>::epsilon());
    }
  }
}

TEST_CASE("batch norm of images") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  for (const Shape& shape : kImages) {
    Twins twins;
    const Twin x = twins.normal(shape, dtype, 2.0, 0.5);
    const Statistics s = statistics_of(twins, x);
    for (const bool relu : {false, true}) {
      for (const bool upsample : {false, true}) {
        check_batch_norm(twins, x, s, {0, 0, relu, upsample, false});
        check_batch_norm(twins, x, s, {1, 1, relu, upsample, true});
        check_batch_norm(twins, x, s, {2, 2, relu, upsample, relu != upsample});
      }
    }
    check_batch_norm(twins, x, s, {2, 1, true, false, false});
    check_batch_norm(twins, x, s, {0, 2, true, true, true});
  }
}

TEST_CASE("batch norm of rows") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  for (const Shape& shape : kRows) {
    Twins twins;
    const Twin x = twins.normal(shape, dtype, 2.0, 0.5);
    const Statistics s = statistics_of(twins, x);
    for (const int rank : {0, 1, 2}) check_batch_norm(twins, x, s, {rank, rank, true, false, true});
  }
}

TEST_CASE("batch norm: a mean of 1e4 and a deviation of 1 keep their digits") {
  Twins twins;
  const Twin x = twins.normal({3, 9, 7, 36}, DType::kF32, 1.0, 1e4);
  const Statistics s = statistics_of(twins, x);
  check_batch_norm(twins, x, s, {1, 1, true, false, false});
  check_batch_norm(twins, x, s, {2, 2, false, true, true});
}

TEST_CASE("batch norm: a tensor that starts between packs") {
  Twins twins;
  const Shape shape = {2, 3, 2, 8};
  const Twin whole = twins.normal({25, 4}, DType::kBF16);
  const auto behind = [&](const Tensor& t) { return t.slice(1, 25).reshape(shape); };
  const Twin x = {behind(whole.cpu), behind(whole.cuda)};
  const Statistics s = statistics_of(twins, x);
  check_batch_norm(twins, x, s, {2, 2, true, true, true});
}
