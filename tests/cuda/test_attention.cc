// Softmax and attention on CUDA against the CPU.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/softmax.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

struct Sizes {
  int64_t n, queries, keys, depth, width;
};

// Empty, one element, tails of tiles and of packs, several tiles of queries and keys, the channels
// of generator (24, 96) and discriminator (12, 48), the most channels.
const std::vector<Sizes> kSizes = {{0, 3, 3, 8, 8},      {2, 0, 3, 8, 8},    {1, 1, 1, 1, 1},
                                   {2, 3, 31, 3, 5},     {1, 33, 1, 12, 48}, {2, 65, 130, 24, 96},
                                   {3, 64, 64, 16, 48},  {1, 129, 33, 1, 7}, {1, 70, 66, 40, 184},
                                   {1, 31, 65, 64, 192}, {2, 67, 70, 4, 20}};

// The CPU attends in f32: where CUDA stores bf16, it gets the rounded values.
Twin rounded(Twins& twins, const Shape& shape, DType dtype, const std::vector<double>& values) {
  const Twin stored = twins.of(shape, dtype, values);
  const Twin wide = twins.of(shape, DType::kF32, read(stored.cpu));
  return {wide.cpu, stored.cuda};
}

Twin normal(Twins& twins, const Shape& shape, DType dtype, double scale = 1.0) {
  return rounded(twins, shape, dtype, read(twins.normal(shape, dtype, scale).cpu));
}

Twin fresh(Twins& twins, const Shape& shape, DType dtype) {
  return {twins.fresh(shape, DType::kF32).cpu, twins.fresh(shape, dtype).cuda};
}

struct Inputs {
  Sizes s;
  DType dtype;
  Twin query, key, value;

  // Scores of deviation 3: a few keys have most of the weight.
  Inputs(Twins& twins, const Sizes& sizes, DType storage) : s(sizes), dtype(storage) {
    const double scale = std::sqrt(3.0 / std::sqrt(static_cast<double>(s.depth)));
    query = normal(twins, {s.n, s.queries, s.depth}, dtype, scale);
    key = normal(twins, {s.n, s.keys, s.depth}, dtype, scale);
    value = normal(twins, {s.n, s.keys, s.width}, dtype);
  }
  [[nodiscard]] std::string name() const {
    return to_string(query.cpu.shape()) + " " + to_string(value.cpu.shape()) + " " +
           std::string(name_of(dtype));
  }
};

// Relative error of the weights: exp of scores, and of log_sum, that are rounded themselves.
double weight_tolerance(const Twins& twins, const Twin& log_sum) {
  return sum_tolerance(DType::kF32) * std::max(1.0, twins.largest(log_sum));
}

struct Wanted {
  bool query, key, value, accumulate;
};

// Backward from the same y and log_sum on both sides.
void check_backward(Twins& twins, const Inputs& in, const Twin& y, const Twin& log_sum,
                    const Wanted& wanted) {
  const Sizes& s = in.s;
  const Twin saved = rounded(twins, y.cpu.shape(), in.dtype, read(y.cpu));
  const Twin logs = twins.of(log_sum.cpu.shape(), DType::kF32, read(log_sum.cpu));
  const Twin d_y = normal(twins, y.cpu.shape(), in.dtype);
  const auto gradient = [&](const Shape& shape) {
    return wanted.accumulate ? normal(twins, shape, in.dtype) : fresh(twins, shape, in.dtype);
  };
  const Twin d_query = gradient({s.n, s.queries, s.depth});
  const Twin d_key = gradient({s.n, s.keys, s.depth});
  const Twin d_value = gradient({s.n, s.keys, s.width});
  twins.run([&](const auto& ex, auto at) {
    attention_backward(ex, {.query = at(in.query),
                            .key = at(in.key),
                            .value = at(in.value),
                            .y = at(saved),
                            .log_sum = at(logs),
                            .d_y = at(d_y),
                            .d_query = wanted.query ? at(d_query) : View{},
                            .d_key = wanted.key ? at(d_key) : View{},
                            .d_value = wanted.value ? at(d_value) : View{},
                            .accumulate_query = wanted.accumulate,
                            .accumulate_key = wanted.accumulate,
                            .accumulate_value = wanted.accumulate});
  });
  // Differences <d_y, value> - <d_y, y>, which cancel where one key has all the weight, summed over
  // keys or queries.
  const double terms = twins.largest(d_y) * twins.largest(in.value) *
                       std::max(twins.largest(in.query), twins.largest(in.key));
  const double weights = weight_tolerance(twins, log_sum);
  const double rounding = in.dtype == DType::kBF16 ? sum_tolerance(in.dtype) : 0;
  const auto require = [&](const Twin& t, int64_t length) {
    twins.require_within(
        t, (sum_tolerance(DType::kF32, length) + weights) * terms + rounding * twins.largest(t));
  };
  INFO(in.name() << (wanted.accumulate ? ", accumulated" : ""));
  if (wanted.query) require(d_query, s.keys * s.width);
  if (wanted.key) require(d_key, s.queries * s.width);
  if (wanted.value) twins.require_close(d_value, sum_tolerance(in.dtype, s.queries) + weights);
}

}  // namespace

TEST_CASE("attention") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  for (const Sizes& s : kSizes) {
    Twins twins;
    const Inputs in(twins, s, dtype);
    const Twin y = fresh(twins, {s.n, s.queries, s.width}, dtype);
    const Twin log_sum = twins.fresh({s.n, s.queries}, DType::kF32);
    twins.run([&](const auto& ex, auto at) {
      attention_forward(ex, at(in.query), at(in.key), at(in.value), at(y), at(log_sum));
    });
    INFO(in.name());
    twins.require_close(y,
                        sum_tolerance(dtype, s.keys * s.depth) + weight_tolerance(twins, log_sum));
    twins.require_close(log_sum, sum_tolerance(DType::kF32, s.keys * s.depth));
    check_backward(twins, in, y, log_sum, {true, true, true, false});
    check_backward(twins, in, y, log_sum, {true, true, true, true});
    check_backward(twins, in, y, log_sum, {true, false, false, true});
    check_backward(twins, in, y, log_sum, {false, true, false, false});
    check_backward(twins, in, y, log_sum, {false, false, true, false});
  }
}

TEST_CASE("attention of large scores") {
  // exp of them overflows; each tile of keys brings a larger maximum.
  Twins twins;
  const int64_t keys = 200;
  std::vector<double> rising(keys);
  for (int64_t k = 0; k < keys; ++k) rising[k] = static_cast<double>(k);
  const Twin query = twins.of({1, 2, 1}, DType::kF32, std::vector<double>{10, -10});
  const Twin key = twins.of({1, keys, 1}, DType::kF32, rising);
  const Twin value = twins.normal({1, keys, 3}, DType::kF32);
  const Twin y = twins.fresh({1, 2, 3}, DType::kF32), log_sum = twins.fresh({1, 2}, DType::kF32);
  twins.run([&](const auto& ex, auto at) {
    attention_forward(ex, at(query), at(key), at(value), at(y), at(log_sum));
  });
  for (const Twin& t : {y, log_sum}) twins.require_close(t, sum_tolerance(DType::kF32, keys));
}

TEST_CASE("softmax") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  // Rows of no, one, few and many elements, tails of packs and of warps; several blocks of rows.
  for (const Shape& shape : std::vector<Shape>{{0, 4},
                                               {4, 0},
                                               {1, 1},
                                               {3, 3},
                                               {31, 33},
                                               {33, 8},
                                               {2, 3, 31},
                                               {3, 1000},
                                               {2, 2, 4101}}) {
    for (const bool accumulate : {false, true}) {
      Twins twins;
      // Large enough that exp of the largest overflows.
      const Twin x = twins.normal(shape, dtype, 3.0, 200.0), y = twins.fresh(shape, dtype);
      const Twin d_y = twins.normal(shape, dtype), d_x = twins.normal(shape, dtype);
      twins.run([&](const auto& ex, auto at) {
        softmax_forward(ex, at(x), at(y));
        softmax_backward(ex, at(y), at(d_y), at(d_x), accumulate);
      });
      INFO(to_string(shape) << (accumulate ? ", accumulated" : ""));
      const double tolerance = sum_tolerance(dtype, shape[-1]);
      twins.require_close(y, tolerance);
      // Where one weight is nearly 1, d_y and its mean cancel.
      twins.require_within(d_x, tolerance * std::max(twins.largest(d_y), twins.largest(d_x)));
    }
  }
}
