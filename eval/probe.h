// The linear probe: multinomial logistic regression on frozen features.
//
//   loss(W, b) = mean_i -log softmax(W x_i + b)[y_i] + l2 / 2 |W|^2
//
// Features are standardised with the statistics of the training features. L-BFGS in f64 on the
// host; the data term by f32 matrix products, on the host or a device, summed in f64 in a fixed
// order: results do not depend on the number of threads.
#pragma once

#include <functional>
#include <vector>

#include "engine/core/tensor.h"
#include "eval/features.h"

namespace bigbigan {

struct LinearClassifier {
  int64_t classes = 0, dims = 0;
  std::vector<double> weight;  // (classes, dims)
  std::vector<double> bias;    // (classes)

  LinearClassifier() = default;
  LinearClassifier(int64_t class_count, int64_t dim_count)
      : classes(class_count), dims(dim_count), weight(class_count * dim_count), bias(class_count) {}
};

struct FitOptions {
  double l2 = 1e-4;
  int max_iterations = 300;
  // Ends when the loss fell by less than this fraction over ten iterations.
  double tolerance = 1e-5;
};
struct Fit {
  LinearClassifier classifier;
  double loss = 0;
  int iterations = 0;
};
// Loss without the penalty, and its gradient in the classifier's shape.
using DataLoss = std::function<double(const LinearClassifier&, LinearClassifier& gradient)>;
// Minimises the loss from `start`; `loss`: what computes that of `data`, if not data_loss(). Throws
// Error{kStopped} after a signal, Error{kNumerical} when the loss is not finite.
Fit fit_classifier(const CpuExec& ex, const LabelledFeatures& data, const LinearClassifier& start,
                   const FitOptions& options, const DataLoss& loss = {});

double data_loss(const CpuExec& ex, const LabelledFeatures& data,
                 const LinearClassifier& classifier, LinearClassifier& gradient);

// Shares of rows whose label has the largest score, or one of the five largest (of fewer classes:
// all).
struct Accuracy {
  double top1 = 0, top5 = 0;
};
Accuracy accuracy(const CpuExec& ex, const LabelledFeatures& data,
                  const LinearClassifier& classifier);

struct ProbeResult {
  Accuracy accuracy;
  double l2 = 0;
  int iterations = 0;          // of the last fit
  int64_t selection_rows = 0;  // training rows held out while l2 was chosen
};
// Standardises, chooses l2 from kPenalties by accuracy on a sixth of the training rows held out,
// fits all training rows with it, and scores the test rows. Every label is in [0, classes). Losses
// are computed where `ctx` computes, all else by `ex`.
inline constexpr double kPenalties[] = {1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};
ProbeResult probe(const CpuExec& ex, const Context& ctx, LabelledFeatures train,
                  LabelledFeatures test, int64_t classes);

}  // namespace bigbigan
