// Adam, moving averages and norms against closed forms and f64.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "engine/optim/adam.h"
#include "engine/util/thread_pool.h"
#include "tests/harness/op_case.h"
#include "tests/harness/values.h"
#include "tests/harness/weight_gradients.h"

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

// Weights under spectral norm among other parameters, in f64 and by the formulas of Note [Gradients
// of normalised weights], one matrix at a time.
struct Mixture {
  static constexpr int64_t kTail = 77;
  const std::vector<std::pair<int64_t, int64_t>> matrices = {{1, 5}, {33, 400}, {3, 1}, {2, 9000}};
  std::vector<double> value, grad, expected;  // flat; `expected`: dL/dw
  std::vector<std::vector<double>> u, v;
  std::vector<double> sigmas;
  std::vector<int64_t> begins;

  Mixture() {
    std::mt19937_64 random(3);
    const auto numbers = [&](int64_t n) {
      std::vector<double> list(n);
      for (double& x : list) x = static_cast<float>(standard_normal(random));
      return list;
    };
    const auto unit = [&](int64_t n) {
      std::vector<double> list = numbers(n);
      double squares = 0;
      for (const double x : list) squares += x * x;
      for (double& x : list) x /= std::sqrt(squares);
      return list;
    };
    const auto append = [](std::vector<double>& to, const std::vector<double>& more) {
      to.insert(to.end(), more.begin(), more.end());
    };
    for (const auto& [rows, columns] : matrices) {
      const std::vector<double> other = numbers(rows == 3 ? 0 : 11);  // neighbours, once none
      append(value, other);
      append(grad, other);
      append(expected, other);
      begins.push_back(std::ssize(value));
      const std::vector<double> w = numbers(rows * columns), a = numbers(rows * columns);
      u.push_back(unit(rows));
      v.push_back(unit(columns));
      sigmas.push_back(0.5 + static_cast<double>(u.size()));
      double product = 0;
      for (size_t i = 0; i < w.size(); ++i) product += a[i] * w[i] / sigmas.back();
      append(value, w);
      append(grad, a);
      for (size_t i = 0; i < w.size(); ++i) {
        const double uv = u.back()[i / columns] * v.back()[i % columns];
        expected.push_back((a[i] - product * uv) / sigmas.back());
      }
    }
    const std::vector<double> tail = numbers(kTail);
    for (auto* list : {&value, &grad, &expected}) append(*list, tail);
  }

  // As the elements from `begin` on meet them.
  NormalizedWeights weights(const Context& ctx, std::vector<Tensor>& kept,
                            int64_t begin = 0) const {
    const auto tensor = [&](const std::vector<double>& values) {
      return kept.emplace_back(tensor_of(ctx, {std::ssize(values)}, ctx.dtype, values)).view();
    };
    NormalizedWeights result{.sigmas = tensor(sigmas)};
    for (size_t i = 0; i < u.size(); ++i) {
      result.list.push_back({.begin = begins[i] - begin, .u = tensor(u[i]), .v = tensor(v[i])});
    }
    return result;
  }
};

struct MixtureRun {
  explicit MixtureRun(DType dtype)
      : ctx{.exec = CpuExec{&pool}, .allocator = &allocator, .dtype = dtype},
        value(tensor_of(ctx, {std::ssize(mixture.value)}, dtype, mixture.value)),
        grad(tensor_of(ctx, {std::ssize(mixture.grad)}, dtype, mixture.grad)),
        weights(mixture.weights(ctx, kept)),
        sums(Tensor::empty(ctx, gradient_sums_shape(weights), DType::kF64)) {}

  Mixture mixture;
  ThreadPool pool{2};
  HostAllocator allocator;
  Context ctx;
  std::vector<Tensor> kept;
  Tensor value, grad;
  NormalizedWeights weights;
  Tensor sums;
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

TEST_CASE("normalised weights: dL/dw is formed from dL/d(w / sigma)") {
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    MixtureRun run(dtype);
    const std::vector<double> found =
        read(weight_gradients(run.ctx, run.value, run.grad, run.weights));
    double worst = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      worst = std::max(worst, std::abs(found[i] - run.mixture.expected[i]));
    }
    CHECK(worst <= (dtype == DType::kF64 ? 1e-13 : 4e-6));
    CHECK(read(run.value) == run.mixture.value);  // at rate 0
  }
}

TEST_CASE("normalised weights: in pieces, cut anywhere, they are the same") {
  MixtureRun whole(DType::kF64);
  gradient_sums(whole.ctx, whole.value, whole.grad, whole.weights, whole.sums);
  const std::vector<double> sums = read(whole.sums);
  const std::vector<double> expected =
      read(formed_gradients(whole.ctx, whole.value, whole.grad, whole.weights, whole.sums));
  const int64_t n = whole.grad.elems();
  for (const std::vector<int64_t>& cuts :
       {std::vector<int64_t>{0, 3, 14, 15, 5000, n}, std::vector<int64_t>{0, n - kElems / 10, n}}) {
    const Tensor of_parts = Tensor::empty(whole.ctx, whole.sums.shape(), DType::kF64);
    std::vector<double> gradients;
    for (size_t i = 1; i < cuts.size(); ++i) {
      std::vector<Tensor> kept;
      const NormalizedWeights weights = whole.mixture.weights(whole.ctx, kept, cuts[i - 1]);
      const Tensor value = whole.value.slice(cuts[i - 1], cuts[i]);
      const Tensor grad = whole.grad.slice(cuts[i - 1], cuts[i]);
      gradient_sums(whole.ctx, value, grad, weights, of_parts, i > 1);
      const Tensor formed = formed_gradients(whole.ctx, value, grad, weights, whole.sums);
      for (const double g : read(formed)) gradients.push_back(g);
    }
    const std::vector<double> found = read(of_parts);
    for (size_t i = 0; i < sums.size(); ++i) CHECK(found[i] == Approx(sums[i]).epsilon(1e-12));
    CHECK((gradients == expected));
  }
}

TEST_CASE("normalised weights: the norm of the gradient, and the flag for what is not finite") {
  for (const DType dtype : {DType::kF64, DType::kF32}) {
    MixtureRun run(dtype);
    const Tensor norm = Tensor::zeros(run.ctx, {1}, dtype);
    const Tensor skip = Tensor::zeros(run.ctx, {1}, DType::kI32);
    const auto measure = [&] {
      skip.clear();
      gradient_sums(run.ctx, run.value, run.grad, run.weights, run.sums);
      gradient_norm(run.ctx, run.weights, run.sums, norm, skip);
      return *skip.as<int32_t>();
    };
    double expected = 0;
    for (const double g : run.mixture.expected) expected += g * g;
    CHECK(measure() == 0);
    CHECK(read(norm)[0] == Approx(expected).epsilon(dtype == DType::kF64 ? 1e-12 : 1e-6));
    // In a normalised weight, and elsewhere.
    for (const int64_t at : {run.mixture.begins[1] + 4321, run.grad.elems() - 1}) {
      for (const double bad : {std::numeric_limits<double>::infinity(), std::nan("")}) {
        std::vector<double> g = run.mixture.grad;
        g[at] = bad;
        write(run.grad, g);
        CHECK(measure() == 1);
      }
    }
  }
}

// A gradient along u^T v is what normalising takes away: what is left of it is rounding, and never
// a negative square.
TEST_CASE("normalised weights: a gradient that changes the scale alone is none") {
  MixtureRun run(DType::kF32);
  std::vector<double> value = run.mixture.value, grad(value.size(), 0.0);
  for (size_t m = 0; m < run.mixture.u.size(); ++m) {
    const auto [rows, columns] = run.mixture.matrices[m];
    for (int64_t i = 0; i < rows * columns; ++i) {
      const double uv = run.mixture.u[m][i / columns] * run.mixture.v[m][i % columns];
      value[run.mixture.begins[m] + i] = run.mixture.sigmas[m] * uv;
      grad[run.mixture.begins[m] + i] = 3 * uv;
    }
  }
  write(run.value, value);
  write(run.grad, grad);
  const Tensor norm = Tensor::zeros(run.ctx, {1}, DType::kF32);
  const Tensor skip = Tensor::zeros(run.ctx, {1}, DType::kI32);
  gradient_sums(run.ctx, run.value, run.grad, run.weights, run.sums);
  gradient_norm(run.ctx, run.weights, run.sums, norm, skip);
  CHECK(read(norm)[0] >= 0);
  CHECK(read(norm)[0] <= 1e-5);
  CHECK(*skip.as<int32_t>() == 0);
  for (const double g : read(weight_gradients(run.ctx, run.value, run.grad, run.weights))) {
    CHECK(std::abs(g) <= 1e-6);
  }
}

TEST_CASE("normalised weights: those that overlap, and sigmas that are missing, are refused") {
  MixtureRun run(DType::kF32);
  NormalizedWeights weights = run.weights;
  weights.list[1].begin = 3;
  CHECK_THROWS_AS(segments_of(run.grad.elems(), weights), Error);
  weights = run.weights;
  weights.sigmas = ConstView();
  CHECK_THROWS_AS(segments_of(run.grad.elems(), weights), Error);
}
