// Batch norm over ranks that share a batch: problems, and what each rank should find.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "engine/comm/communicator.h"
#include "engine/ops/norm.h"
#include "tests/harness/op_case.h"
#include "tests/harness/values.h"

namespace bigbigan {

constexpr int64_t kH = 3, kW = 5, kC = 4, kRow = kH * kW * kC;

struct BatchNormProblem {
  DType dtype = DType::kF64;
  double mean = 0.5;
  bool conditional = false;
  int64_t batch = 8;
};

inline std::vector<double> numbers(uint64_t seed, int64_t elems, double mean) {
  std::mt19937_64 random(seed);
  std::vector<double> values(elems);
  for (double& v : values) v = static_cast<float>(mean + standard_normal(random));
  return values;
}

inline std::vector<double> part(const std::vector<double>& all, int64_t row, int64_t first,
                                int64_t n) {
  return {all.begin() + first * row, all.begin() + (first + n) * row};
}

// y, d_x and conditional gradients are rows of samples; affine gradients are sums over ranks.
struct BatchNormResult {
  std::vector<double> y, d_x, d_gain, d_bias, running_mean, running_var;
};

// What a rank with samples [first, first + n) computes, alone or with those of `base.comm`.
inline BatchNormResult run_batch_norm(const BatchNormProblem& p, const Context& base, int64_t first,
                                      int64_t n) {
  Context ctx = base;
  ctx.dtype = p.dtype;
  ctx.batch_statistics = ctx.update_statistics = true;
  const auto of = [&](const Shape& shape, const std::vector<double>& values) {
    return tensor_of(ctx, shape, p.dtype, values);
  };
  const int64_t gains = p.conditional ? p.batch : 1;
  std::vector<double> gain = numbers(3, gains * kC, 1), bias = numbers(4, gains * kC, 0);
  Shape parameter{kC};
  if (p.conditional) {
    gain = part(gain, kC, first, n);
    bias = part(bias, kC, first, n);
    parameter = {n, kC};
  }
  Tape tape;
  const Var x =
      tape.input(of({n, kH, kW, kC}, part(numbers(1, p.batch * kRow, p.mean), kRow, first, n)));
  const Var g = tape.input(of(parameter, gain)), b = tape.input(of(parameter, bias));
  const Tensor mean = of({kC}, std::vector<double>(kC, 0)),
               var = of({kC}, std::vector<double>(kC, 1));
  const Var y =
      batch_norm(ctx.with_tape(&tape), x, g, b, mean, var, {.eps = 1e-4, .momentum = 0.9});
  tape.seed(y, of(y.shape(), part(numbers(2, p.batch * kRow, 0), kRow, first, n)));
  tape.backward(ctx);
  const Tensor d_gain = tape.gradient(g), d_bias = tape.gradient(b);
  if (ctx.comm != nullptr && !p.conditional) {
    ctx.comm->all_reduce_sum(d_gain.view());
    ctx.comm->all_reduce_sum(d_bias.view());
  }
  return {read(y.value), read(tape.gradient(x)), read(d_gain), read(d_bias), read(mean), read(var)};
}

// On the CPU, alone, with all samples.
inline BatchNormResult run_whole_batch_norm(const BatchNormProblem& p) {
  HostAllocator allocator;
  return run_batch_norm(p, {.exec = CpuExec{}, .allocator = &allocator}, 0, p.batch);
}

// The part of that which a rank with samples [first, first + n) finds.
inline BatchNormResult part_of(const BatchNormResult& whole, const BatchNormProblem& p,
                               int64_t first, int64_t n) {
  BatchNormResult mine = whole;
  mine.y = part(whole.y, kRow, first, n);
  mine.d_x = part(whole.d_x, kRow, first, n);
  if (p.conditional) {
    mine.d_gain = part(whole.d_gain, kC, first, n);
    mine.d_bias = part(whole.d_bias, kC, first, n);
  }
  return mine;
}

// |a - b| / |b| in the Euclidean norm. NaN fails every comparison.
inline double batch_norm_distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  if (b.empty()) return 0;
  double difference = 0, size = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);
}

inline void check_same(const BatchNormResult& found, const BatchNormResult& expected,
                       double limit) {
  for (const auto array :
       {&BatchNormResult::y, &BatchNormResult::d_x, &BatchNormResult::d_gain,
        &BatchNormResult::d_bias, &BatchNormResult::running_mean, &BatchNormResult::running_var}) {
    CHECK(batch_norm_distance(found.*array, expected.*array) <= limit);
  }
}

// Samples of each rank.
using Split = std::vector<int64_t>;
inline int64_t first_of(const Split& split, int rank) {
  return std::accumulate(split.begin(), split.begin() + rank, int64_t{0});
}
inline const std::vector<Split> kBatchNormSplits = {{4, 4}, {5, 3},    {7, 1},       {8, 0},
                                                    {0, 8}, {3, 3, 2}, {2, 2, 2, 2}, {1, 0, 6, 1}};

}  // namespace bigbigan
