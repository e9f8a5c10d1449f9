// Adam, moving averages and norms against closed forms and f64.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "engine/optim/adam.h"
#include "engine/util/thread_pool.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

constexpr int64_t kElems = 40000;  // several chunks, the last one short

std::vector<double> wave(double step, double offset = 0) {
  std::vector<double> values(kElems);
  for (int64_t i = 0; i < kElems; ++i) {
    values[i] = static_cast<float>(offset + std::sin(step * static_cast<double>(i + 1)));
  }
  return values;
}

struct Optimiser {
  ThreadPool pool{2};
  HostAllocator allocator;
  Context ctx;
  Tensor value, grad, m, v, average, packed, t, skip;

  explicit Optimiser(DType dtype)
      : ctx{.exec = CpuExec{&pool}, .allocator = &allocator, .dtype = dtype},
        value(tensor_of(ctx, {kElems}, dtype, wave(0.7))),
        grad(tensor_of(ctx, {kElems}, dtype, wave(1.3, 0.1))),
        m(Tensor::zeros(ctx, {kElems}, dtype)),
        v(Tensor::zeros(ctx, {kElems}, dtype)),
        average(tensor_of(ctx, {kElems}, dtype, wave(0.3))),
        packed(Tensor::zeros(ctx, {kElems}, DType::kBF16)),
        t(Tensor::zeros(ctx, {1}, DType::kI64)),
        skip(Tensor::zeros(ctx, {1}, DType::kI32)) {}

  // `options`: the numbers among the arguments.
  void update(UpdateArgs options) {
    ++*t.as<int64_t>();
    options.value = value;
    options.grad = grad;
    options.m = m;
    options.v = v;
    options.t = t;
    options.skip = skip;
    options.average = average;
    options.packed = packed;
    optimizer_update(ctx, options);
  }
};

}  // namespace

// With a constant gradient g both corrected moments are g and g^2: each update moves by lr g / (|g|
// + eps).
TEST_CASE("adam: a constant gradient moves by the learning rate") {
  const UpdateArgs options{.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-4};
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    Optimiser o(dtype);
    const std::vector<double> start = read(o.value), g = read(o.grad);
    constexpr int kUpdates = 20;
    for (int i = 0; i < kUpdates; ++i) o.update(options);
    const std::vector<double> w = read(o.value), m = read(o.m), v = read(o.v);
    const double eps = dtype == DType::kF64 ? 1e-14 : 4e-6;
    for (int64_t i = 0; i < kElems; i += 7) {
      CHECK(std::abs(w[i] - (start[i] - kUpdates * options.lr * g[i] /
                                            (std::abs(g[i]) + options.eps))) <= eps);
      CHECK(std::abs(m[i] - (1 - std::pow(0.9, kUpdates)) * g[i]) <= eps);
      CHECK(std::abs(v[i] - (1 - std::pow(0.99, kUpdates)) * g[i] * g[i]) <= eps);
    }
  }
}

// Kingma & Ba, algorithm 1, one element at a time; then the average of its results.
TEST_CASE("optimizer update: changing gradients against the algorithm") {
  const UpdateArgs o{.lr = 2e-4, .beta1 = 0.5, .beta2 = 0.999, .eps = 1e-8, .decay = 0.75};
  Optimiser found(DType::kF64);
  std::vector<double> w = read(found.value), m(kElems), v(kElems), average = read(found.average);
  for (int t = 1; t <= 5; ++t) {
    const std::vector<double> g = wave(0.1 * t, 0.01 * t);
    write(found.grad, g);
    found.update(o);
    for (int64_t i = 0; i < kElems; ++i) {
      m[i] = o.beta1 * m[i] + (1 - o.beta1) * g[i];
      v[i] = o.beta2 * v[i] + (1 - o.beta2) * g[i] * g[i];
      const double m_hat = m[i] / (1 - std::pow(o.beta1, t)),
                   v_hat = v[i] / (1 - std::pow(o.beta2, t));
      w[i] -= o.lr * m_hat / (std::sqrt(v_hat) + o.eps);
      average[i] = o.decay * average[i] + (1 - o.decay) * w[i];
    }
  }
  const std::vector<double> value = read(found.value), mean = read(found.average);
  const std::vector<double> packed = read(found.packed);
  double worst = 0, worst_packed = 0;
  for (int64_t i = 0; i < kElems; ++i) {
    worst = std::max({worst, std::abs(value[i] - w[i]), std::abs(mean[i] - average[i])});
    worst_packed = std::max(worst_packed, std::abs(packed[i] / value[i] - 1));
  }
  CHECK(worst <= 1e-15);
  CHECK(worst_packed <= 0x1p-8);
}

TEST_CASE("optimizer update: nothing changes in a skipped step") {
  const UpdateArgs options{.lr = 1e-3, .beta2 = 0.9, .eps = 1e-4, .decay = 0.9};
  Optimiser o(DType::kF32);
  o.update(options);
  const auto state = [&] {
    return std::vector{read(o.value), read(o.m), read(o.v), read(o.average), read(o.packed)};
  };
  const auto before = state();
  *o.skip.as<int32_t>() = 1;
  write(o.grad, std::vector<double>(kElems, std::numeric_limits<double>::quiet_NaN()));
  o.update(options);
  ema_update(o.ctx, o.average, o.value, 0.9, o.skip);
  CHECK(state() == before);
  *o.skip.as<int32_t>() = 0;
  ema_update(o.ctx, o.average, o.value, 0.9, o.skip);
  CHECK(state() != before);
}

// After k updates towards a constant the distance to it has shrunk by decay^k.
TEST_CASE("moving average: closed form") {
  Optimiser o(DType::kF64);
  const std::vector<double> start = wave(0.3), target = read(o.value);
  const Tensor average = tensor_of(o.ctx, {kElems}, DType::kF64, start);
  for (int k = 0; k < 10; ++k) ema_update(o.ctx, average, o.value, 0.75, o.skip);
  const std::vector<double> found = read(average);
  for (int64_t i = 0; i < kElems; i += 7) {
    CHECK(std::abs(found[i] - (target[i] + std::pow(0.75, 10) * (start[i] - target[i]))) <= 1e-15);
  }
  ema_update(o.ctx, average, o.value, 0.0, o.skip);
  CHECK(read(average) == target);
}

TEST_CASE("sum of squares: value, and the flag for what is not finite") {
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    Optimiser o(dtype);
    const Tensor sum = Tensor::zeros(o.ctx, {1}, dtype);
    double expected = 0;
    for (const double g : read(o.grad)) expected += g * g;
    sum_of_squares(o.ctx, o.grad, sum, o.skip);
    CHECK(read(sum)[0] == Approx(expected).epsilon(dtype == DType::kF64 ? 1e-13 : 1e-7));
    CHECK(*o.skip.as<int32_t>() == 0);
    for (const double bad : {std::numeric_limits<double>::infinity(), std::nan("")}) {
      std::vector<double> g = wave(1.3);
      g[kElems - 1] = bad;
      write(o.grad, g);
      *o.skip.as<int32_t>() = 0;
      sum_of_squares(o.ctx, o.grad, sum, o.skip);
      CHECK(*o.skip.as<int32_t>() == 1);
    }
  }
}
