#include <catch2/catch.hpp>
#include <cmath>

#include "engine/util/thread_pool.h"
#include "eval/device_loss.h"
#include "eval/preconditioner.h"
#include "eval/probe.h"

namespace bigbigan {
namespace {

// Features and labels by formula, so that another program can make the same ones.
LabelledFeatures formula_data(int64_t rows, int64_t dims, int64_t classes) {
  LabelledFeatures data{Matrix(rows, dims), Labels(rows)};
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < dims; ++j) {
      data.x.row(i)[j] =
          static_cast<float>(std::sin(0.37 * double(i + 1) * double(j + 1) + double(j)));
    }
    const double signal = 1.5 * data.x.row(i)[0] - data.x.row(i)[1] + 0.8 * std::cos(double(7 * i));
    data.labels[i] = std::min<int64_t>(
        classes - 1, static_cast<int64_t>(std::floor((signal + 3.0) / 6.0 * double(classes))));
  }
  return data;
}

ProbeResult probe_by(const CpuExec& ex, const LabelledFeatures& train, const LabelledFeatures& test,
                     int64_t classes) {
  HostAllocator memory;
  return probe(ex, {.exec = ex, .allocator = &memory}, train, test, classes);
}

}  // namespace

// The numbers are scikit-learn 1.2.1's (f64, converged):
//   import numpy as np; from sklearn.linear_model import LogisticRegression
//   i, j = np.arange(60)[:, None], np.arange(5)[None, :]
//   x = np.sin(0.37 * (i + 1) * (j + 1) + j).astype(np.float32).astype(np.float64)
//   s = 1.5 * x[:, 0] - x[:, 1] + 0.8 * np.cos(7.0 * np.arange(60))
//   y = np.minimum(2, np.floor((s + 3.0) / 6.0 * 3).astype(int))
//   m = LogisticRegression(C=1 / (60 * l2), tol=1e-12, max_iter=100000).fit(x, y)
//   p = m.predict_proba(x); loss = -np.log(p[range(60), y]).mean() + l2 / 2 * (m.coef_ ** 2).sum()
// The biases are free up to a common shift; scikit-learn's sum to 0.
TEST_CASE("the fit reaches the minimum that scikit-learn finds", "[eval][probe]") {
  struct Golden {
    double l2, loss;
    std::vector<double> weight, bias;
  };
  const Golden goldens[] = {
      {0.01,
       0.479237327,
       {-1.343096, 0.003634, 0.324032, -0.305470, 0.151225, -1.307152, 1.201908, -0.068054,
        0.392634, -1.100176, 2.650248, -1.205542, -0.255978, -0.087164, 0.948950},
       {-0.003652, 0.700667, -0.697015}},
      {0.001,
       0.363119644,
       {-2.027208, 0.229846, 0.756012, -0.537983, -0.232572, -2.670270, 2.105952, -0.211678,
        0.713946, -1.878699, 4.697478, -2.335798, -0.544334, -0.175963, 2.111271},
       {0.609315, 0.962773, -1.572088}}};
  const LabelledFeatures data = formula_data(60, 5, 3);
  for (const Golden& golden : goldens) {
    INFO("l2 " << golden.l2);
    const Fit fit = fit_classifier(CpuExec{}, data, LinearClassifier(3, 5),
                                   {.l2 = golden.l2, .max_iterations = 1000, .tolerance = 1e-12});
    REQUIRE(fit.loss == Approx(golden.loss).epsilon(1e-6));
    double shift = 0;
    for (int64_t k = 0; k < 3; ++k) shift += fit.classifier.bias[k] / 3;
    for (int64_t k = 0; k < 3; ++k) {
      REQUIRE(fit.classifier.bias[k] - shift == Approx(golden.bias[k]).margin(5e-3));
      for (int64_t j = 0; j < 5; ++j) {
        REQUIRE(fit.classifier.weight[k * 5 + j] == Approx(golden.weight[k * 5 + j]).margin(5e-3));
      }
    }
  }
}

TEST_CASE("the gradient of the loss is its finite difference", "[eval][probe]") {
  // More rows than a block, and than lanes divide.
  const LabelledFeatures data = formula_data(16 * 256 + 37, 4, 3);
  LinearClassifier at(3, 4), gradient;
  for (size_t i = 0; i < at.weight.size(); ++i) at.weight[i] = 0.3 * std::sin(double(i));
  at.bias = {0.1, -0.2, 0.3};
  data_loss(CpuExec{}, data, at, gradient);
  const auto loss_with = [&](double& parameter, double change) {
    const double saved = parameter;
    parameter += change;
    LinearClassifier unused;
    const double loss = data_loss(CpuExec{}, data, at, unused);
    parameter = saved;
    return loss;
  };
  constexpr double kStep = 1e-2;
  for (size_t i = 0; i < at.weight.size(); ++i) {
    const double slope =
        (loss_with(at.weight[i], kStep) - loss_with(at.weight[i], -kStep)) / (2 * kStep);
    REQUIRE(gradient.weight[i] == Approx(slope).margin(1e-5));
  }
  for (size_t k = 0; k < 3; ++k) {
    const double slope =
        (loss_with(at.bias[k], kStep) - loss_with(at.bias[k], -kStep)) / (2 * kStep);
    REQUIRE(gradient.bias[k] == Approx(slope).margin(1e-5));
  }
}

// On the CPU in place of a device: more rows than a tile.
TEST_CASE("the device's loss and gradient are the host's", "[eval][probe]") {
  const LabelledFeatures data = formula_data(16384 + 37, 4, 3);
  LinearClassifier at(3, 4), expected, found;
  for (size_t i = 0; i < at.weight.size(); ++i) at.weight[i] = 0.3 * std::sin(double(i));
  at.bias = {0.1, -0.2, 0.3};
  HostAllocator memory;
  const Context ctx{.exec = CpuExec{}, .allocator = &memory};
  const DataLoss loss = device_loss(ctx, data, 3);
  for (const double factor : {1.0, 0.5}) {
    for (double& w : at.weight) w *= factor;
    REQUIRE(loss(at, found) == Approx(data_loss(CpuExec{}, data, at, expected)).epsilon(1e-6));
    for (size_t i = 0; i < at.weight.size(); ++i)
      REQUIRE(found.weight[i] == Approx(expected.weight[i]).margin(1e-6));
    for (size_t k = 0; k < 3; ++k) REQUIRE(found.bias[k] == Approx(expected.bias[k]).margin(1e-6));
  }
}

TEST_CASE("top-1 and top-5 count ranks, equal scores by class", "[eval][probe]") {
  LinearClassifier classifier(7, 1);  // scores are weight times x
  classifier.weight = {6, 5, 4, 3, 2, 1, 6};
  LabelledFeatures data{Matrix(7, 1), {0, 1, 2, 3, 4, 5, 6}};
  data.x.values.assign(7, 1.0f);
  const Accuracy a = accuracy(CpuExec{}, data, classifier);
  REQUIRE(a.top1 == Approx(1.0 / 7));
  data = {Matrix(1, 1), {6}};  // ties with class 0, and ranks second
  data.x.values.assign(1, 1.0f);
  REQUIRE(accuracy(CpuExec{}, data, classifier).top1 == 0);
  data.labels = {0};
  REQUIRE(accuracy(CpuExec{}, data, classifier).top1 == 1);
  REQUIRE(a.top5 == Approx(5.0 / 7));  // in order: 0 6 1 2 3 | 4 5
}

TEST_CASE("the probe's result does not depend on the number of threads", "[eval][probe]") {
  const LabelledFeatures train = formula_data(3000, 6, 3), test = formula_data(500, 6, 3);
  ThreadPool three(3);
  const ProbeResult alone = probe_by(CpuExec{}, train, test, 3),
                    together = probe_by(CpuExec{&three}, train, test, 3);
  REQUIRE(alone.accuracy.top1 == together.accuracy.top1);
  REQUIRE(alone.iterations == together.iterations);
  LinearClassifier at(3, 6), g1, g3;
  for (size_t i = 0; i < at.weight.size(); ++i) at.weight[i] = std::cos(double(i));
  REQUIRE(data_loss(CpuExec{}, train, at, g1) == data_loss(CpuExec{&three}, train, at, g3));
  REQUIRE(g1.weight == g3.weight);
}

TEST_CASE("the probe standardises by training statistics and survives constant features",
          "[eval][probe]") {
  LabelledFeatures train{Matrix(90, 3), Labels(90)}, test{Matrix(30, 3), Labels(30)};
  const auto fill = [](LabelledFeatures& data) {
    for (int64_t i = 0; i < data.x.rows; ++i) {
      data.labels[i] = i % 2;
      // Large offset, small signal; a constant; noise.
      data.x.row(i)[0] = 1e4f + (i % 2 == 0 ? 1.0f : -1.0f);
      data.x.row(i)[1] = 7;
      data.x.row(i)[2] = static_cast<float>(std::sin(double(i)));
    }
  };
  fill(train);
  fill(test);
  for (int64_t i = 0; i < test.x.rows; ++i)
    test.x.row(i)[1] = 1000;  // constant in training: no evidence
  const ProbeResult result = probe_by(CpuExec{}, train, test, 2);
  REQUIRE(result.accuracy.top1 == 1.0);
  REQUIRE(result.selection_rows == 15);
}

TEST_CASE("preconditioned coordinates are a change of variables", "[eval][probe]") {
  const LabelledFeatures data = formula_data(50, 4, 3);
  const Preconditioner p(CpuExec{}, data.x, 1e-3);
  std::vector<double> w = {1, -2, 3, 0.5, 2, 0, -1, 4}, v = w,
                      g = {0.3, 1, -1, 2, 0.7, -0.2, 0.1, 1};
  p.to_coordinates(v);
  REQUIRE(v != w);
  std::vector<double> back = v;
  p.to_weights(back);
  for (size_t i = 0; i < w.size(); ++i) REQUIRE(back[i] == Approx(w[i]).margin(1e-9));
  // <dL/dV, V> = <dL/dW, W>: W is linear in V.
  double by_weight = 0, by_coordinate = 0;
  for (size_t i = 0; i < w.size(); ++i) by_weight += g[i] * w[i];
  p.to_coordinate_gradient(g);
  for (size_t i = 0; i < w.size(); ++i) by_coordinate += g[i] * v[i];
  REQUIRE(by_coordinate == Approx(by_weight));
}

}  // namespace bigbigan
