// Batch norm over ranks that share a batch, against one rank that has all of it.
#include <catch2/catch.hpp>
#include <cmath>
#include <mutex>

#include "engine/comm/communicator.h"
#include "engine/ops/norm.h"
#include "tests/harness/op_case.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

constexpr int64_t kH = 3, kW = 5, kC = 4, kRow = kH * kW * kC;

struct Problem {
  DType dtype = DType::kF64;
  double mean = 0.5;
  bool conditional = false;
  int64_t batch = 8;
};

std::vector<double> numbers(uint64_t seed, int64_t elems, double mean) {
  std::mt19937_64 random(seed);
  std::vector<double> values(elems);
  for (double& v : values) v = static_cast<float>(mean + standard_normal(random));
  return values;
}

std::vector<double> part(const std::vector<double>& all, int64_t row, int64_t first, int64_t n) {
  return {all.begin() + first * row, all.begin() + (first + n) * row};
}

// y, d_x and conditional gradients are rows of samples; affine gradients are sums over ranks.
struct Result {
  std::vector<double> y, d_x, d_gain, d_bias, running_mean, running_var;
};

// Samples [first, first + n) of the problem, on one rank.
Result run(const Problem& p, Communicator* comm, int64_t first, int64_t n) {
  HostAllocator allocator;
  const Context ctx{.exec = CpuExec{},
                    .allocator = &allocator,
                    .comm = comm,
                    .dtype = p.dtype,
                    .batch_statistics = true,
                    .update_statistics = true};
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
  if (comm != nullptr && !p.conditional) {
    comm->all_reduce_sum(d_gain.view());
    comm->all_reduce_sum(d_bias.view());
  }
  return {read(y.value), read(tape.gradient(x)), read(d_gain), read(d_bias), read(mean), read(var)};
}

// The same over ranks with these numbers of samples; rows joined in rank order.
Result run_world(const Problem& p, const std::vector<int64_t>& samples) {
  std::vector<Result> parts(samples.size());
  run_thread_ranks(static_cast<int>(samples.size()), [&](Communicator& comm) {
    int64_t first = 0;
    for (int r = 0; r < comm.rank(); ++r) first += samples[r];
    parts[comm.rank()] = run(p, &comm, first, samples[comm.rank()]);
  });
  Result joined = parts[0];
  for (size_t r = 1; r < parts.size(); ++r) {
    const auto append = [&](std::vector<double> Result::*rows) {
      (joined.*rows).insert((joined.*rows).end(), (parts[r].*rows).begin(), (parts[r].*rows).end());
    };
    append(&Result::y);
    append(&Result::d_x);
    if (p.conditional) {
      append(&Result::d_gain);
      append(&Result::d_bias);
    } else {
      CHECK(parts[r].d_gain == joined.d_gain);
    }
    CHECK(parts[r].running_mean == joined.running_mean);  // the same bits on every rank
    CHECK(parts[r].running_var == joined.running_var);
  }
  return joined;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, size = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    size += b[i] * b[i];
  }
  return std::sqrt(difference / size);  // NaN fails every comparison
}

void check_same(const Result& found, const Result& expected, double limit) {
  CHECK(distance(found.y, expected.y) <= limit);
  CHECK(distance(found.d_x, expected.d_x) <= limit);
  CHECK(distance(found.d_gain, expected.d_gain) <= limit);
  CHECK(distance(found.d_bias, expected.d_bias) <= limit);
  CHECK(distance(found.running_mean, expected.running_mean) <= limit);
  CHECK(distance(found.running_var, expected.running_var) <= limit);
}

const std::vector<std::vector<int64_t>> kSplits = {{4, 4}, {5, 3},       {7, 1},      {8, 0},
                                                   {0, 8}, {2, 2, 2, 2}, {1, 0, 6, 1}};

}  // namespace

TEST_CASE("synchronised batch norm: any split is one batch") {
  for (const bool conditional : {false, true}) {
    for (const auto& split : kSplits) {
      INFO(split.size() << " ranks, the first with " << split[0] << ", conditional "
                        << conditional);
      for (const auto& [dtype, limit] :
           {std::pair(DType::kF64, 1e-12), std::pair(DType::kF32, 1e-5)}) {
        const Problem p{.dtype = dtype, .conditional = conditional};
        check_same(run_world(p, split), run(p, nullptr, 0, 8), limit);
      }
    }
  }
}

TEST_CASE("synchronised batch norm: a mean of 1e4 with a deviation of 1") {
  const Result exact = run({.mean = 1e4}, nullptr, 0, 8);
  for (const auto& split : kSplits) {
    INFO(split.size() << " ranks, the first with " << split[0]);
    // The inputs' own rounding: eps times 1e4.
    check_same(run_world({.mean = 1e4}, split), exact, 1e-11);
    check_same(run_world({.dtype = DType::kF32, .mean = 1e4}, split), exact, 1e-3);
  }
}
