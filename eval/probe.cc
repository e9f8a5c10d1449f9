#include "eval/probe.h"

#include <lbfgs.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <memory>

#include "engine/data/dataset.h"
#include "engine/util/signals.h"
#include "eval/device_loss.h"
#include "eval/preconditioner.h"
#include "kernels/linear/gemm.h"

namespace bigbigan {
namespace {

// Note [Lanes]: rows are split among kLanes lanes, whatever the number of threads; a lane takes its
// rows in blocks that stay in the cache between the two products, and sums them in f64.
constexpr int64_t kLanes = 16;
constexpr int64_t kBlockRows = 256;

// Scores of a block of rows, transposed: (classes, rows).
struct BlockScores {
  std::vector<float> values;
  void compute(const LabelledFeatures& data, int64_t begin, int64_t rows, ConstView weight,
               const std::vector<double>& bias) {
    const int64_t classes = weight.shape[0], dims = weight.shape[1];
    values.resize(classes * rows);
    gemm(CpuExec{}, {.a = weight,
                     .b = {data.x.row(begin), {rows, dims}, DType::kF32},
                     .transpose_b = true,
                     .c = {values.data(), {classes, rows}, DType::kF32}});
    for (int64_t k = 0; k < classes; ++k) {
      const auto b = static_cast<float>(bias[k]);
      for (int64_t i = 0; i < rows; ++i) values[k * rows + i] += b;
    }
  }
};

// Scores := softmax over classes less the one-hot label: the gradient of the loss of these rows by
// their scores. Returns the sum of their losses.
double softmax_gradient(float* scores, int64_t classes, int64_t rows, const int64_t* labels) {
  std::vector<float> top(scores, scores + rows), sum(rows, 0.0f);
  double loss = 0;
  for (int64_t k = 1; k < classes; ++k) {
    for (int64_t i = 0; i < rows; ++i) top[i] = std::max(top[i], scores[k * rows + i]);
  }
  for (int64_t i = 0; i < rows; ++i)
    loss -= static_cast<double>(scores[labels[i] * rows + i]) - top[i];
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t i = 0; i < rows; ++i) {
      float& score = scores[k * rows + i];
      score = std::exp(score - top[i]);
      sum[i] += score;
    }
  }
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t i = 0; i < rows; ++i) scores[k * rows + i] /= sum[i];
  }
  for (int64_t i = 0; i < rows; ++i) {
    loss += std::log(static_cast<double>(sum[i]));
    scores[labels[i] * rows + i] -= 1.0f;
  }
  return loss;
}

// Sums of one lane.
struct Lane {
  double loss = 0;
  LinearClassifier gradient;
};

void add_block(const LabelledFeatures& data, int64_t begin, int64_t rows, ConstView weight,
               const std::vector<double>& bias, Lane& lane) {
  const int64_t classes = weight.shape[0], dims = weight.shape[1];
  BlockScores scores;
  scores.compute(data, begin, rows, weight, bias);
  lane.loss += softmax_gradient(scores.values.data(), classes, rows, data.labels.data() + begin);
  std::vector<float> d_weight(classes * dims);
  gemm(CpuExec{}, {.a = {scores.values.data(), {classes, rows}, DType::kF32},
                   .b = {data.x.row(begin), {rows, dims}, DType::kF32},
                   .c = {d_weight.data(), {classes, dims}, DType::kF32}});
  for (size_t i = 0; i < d_weight.size(); ++i) lane.gradient.weight[i] += d_weight[i];
  for (int64_t k = 0; k < classes; ++k) {
    for (int64_t i = 0; i < rows; ++i) lane.gradient.bias[k] += scores.values[k * rows + i];
  }
}

// Calls body(lane, begin, rows) for all blocks of rows; lanes in parallel.
template <class Body>
void for_blocks(const CpuExec& ex, int64_t rows, const Body& body) {
  ex.for_chunks(kLanes, [&](int64_t lane) {
    const int64_t end = rows * (lane + 1) / kLanes;
    for (int64_t begin = rows * lane / kLanes; begin < end; begin += kBlockRows) {
      body(lane, begin, std::min(kBlockRows, end - begin));
    }
  });
}

// The loss in the coordinates of Note [Preconditioning]; the variables are V, then the biases.
struct Objective {
  const DataLoss& data_term;
  const FitOptions& options;
  const Preconditioner& preconditioner;
  LinearClassifier classifier, gradient;
  int iterations = 0;
  std::exception_ptr error;  // kept here: it must not cross the C code between

  static double evaluate(void* self, const double* x, double* g, int n, double) {
    auto& objective = *static_cast<Objective*>(self);
    try {
      return objective.evaluate(x, g);
    } catch (...) {
      objective.error = std::current_exception();
      std::fill_n(g, n, 0.0);
      return 0;
    }
  }
  double evaluate(const double* x, double* g) {
    read(x);
    double loss = data_term(classifier, gradient);
    for (size_t i = 0; i < classifier.weight.size(); ++i) {
      const double w = classifier.weight[i];
      loss += options.l2 / 2 * w * w;
      gradient.weight[i] += options.l2 * w;
    }
    preconditioner.to_coordinate_gradient(gradient.weight);
    std::copy(gradient.bias.begin(), gradient.bias.end(),
              std::copy(gradient.weight.begin(), gradient.weight.end(), g));
    return loss;
  }
  // The classifier at `x`.
  void read(const double* x) {
    const auto weights = static_cast<int64_t>(classifier.weight.size());
    std::copy_n(x, weights, classifier.weight.begin());
    preconditioner.to_weights(classifier.weight);
    std::copy_n(x + weights, classifier.classes, classifier.bias.begin());
  }
  // The variables of the classifier.
  void write(double* x) const {
    std::vector<double> coordinates = classifier.weight;
    preconditioner.to_coordinates(coordinates);
    std::copy(classifier.bias.begin(), classifier.bias.end(),
              std::copy(coordinates.begin(), coordinates.end(), x));
  }
  static int progress(void* self, const double*, const double*, double, double, double, double, int,
                      int iteration, int) {
    auto& objective = *static_cast<Objective*>(self);
    objective.iterations = iteration;
    return objective.error || StopSignals::requested() ? 1 : 0;
  }
};

lbfgs_parameter_t parameters_of(const FitOptions& options) {
  lbfgs_parameter_t p;
  lbfgs_parameter_init(&p);
  p.m = 10;
  p.max_iterations = options.max_iterations;
  p.epsilon = 1e-5;
  p.past = 10;
  p.delta = options.tolerance;
  p.linesearch = LBFGS_LINESEARCH_BACKTRACKING_STRONG_WOLFE;
  return p;
}

// Ends that leave a usable minimum: converged, out of iterations, or no further descent within
// rounding.
bool is_usable(int status) {
  return status >= 0 || status == LBFGSERR_MAXIMUMITERATION || status == LBFGSERR_ROUNDING_ERROR ||
         status == LBFGSERR_MINIMUMSTEP || status == LBFGSERR_MAXIMUMSTEP ||
         status == LBFGSERR_MAXIMUMLINESEARCH || status == LBFGSERR_WIDTHTOOSMALL;
}

// Rows in front of which `label` ranks among the scores of row `i`: larger scores, and equal ones
// of a smaller class.
int64_t rank_of(const BlockScores& scores, int64_t classes, int64_t rows, int64_t i,
                int64_t label) {
  const float own = scores.values[label * rows + i];
  int64_t rank = 0;
  for (int64_t k = 0; k < classes; ++k) {
    const float other = scores.values[k * rows + i];
    rank += other > own || (other == own && k < label) ? 1 : 0;
  }
  return rank;
}

std::vector<float> to_floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

// Empty on the host: fit_classifier's own.
DataLoss loss_on(const Context& ctx, const LabelledFeatures& data, int64_t classes) {
  if (ctx.is_on_host()) return {};
  return device_loss(ctx, data, classes);
}

// The largest accuracy on `validation` over kPenalties; the stronger penalty where two are equal.
// Each fit starts from the one before.
std::pair<double, LinearClassifier> choose_penalty(const CpuExec& ex, const Context& ctx,
                                                   const LabelledFeatures& fit,
                                                   const LabelledFeatures& validation,
                                                   LinearClassifier start) {
  constexpr double kTolerance = 3e-3;  // tells penalties apart; a tenth of the iterations
  const DataLoss loss = loss_on(ctx, fit, start.classes);
  double best = 0, best_top1 = -1;
  LinearClassifier winner;
  for (const double l2 : kPenalties) {
    start = fit_classifier(ex, fit, start, {.l2 = l2, .tolerance = kTolerance}, loss).classifier;
    const double top1 = accuracy(ex, validation, start).top1;
    if (top1 <= best_top1) continue;
    best = l2;
    best_top1 = top1;
    winner = start;
  }
  return {best, winner};
}

}  // namespace

double data_loss(const CpuExec& ex, const LabelledFeatures& data,
                 const LinearClassifier& classifier, LinearClassifier& gradient) {
  const int64_t classes = classifier.classes, dims = classifier.dims;
  const std::vector<float> weight = to_floats(classifier.weight);
  const ConstView weight_view(weight.data(), {classes, dims}, DType::kF32);
  std::vector<Lane> lanes(kLanes, Lane{0, LinearClassifier(classes, dims)});
  for_blocks(ex, data.x.rows, [&](int64_t lane, int64_t begin, int64_t rows) {
    add_block(data, begin, rows, weight_view, classifier.bias, lanes[lane]);
  });
  gradient = LinearClassifier(classes, dims);
  double loss = 0;
  const double scale = 1.0 / static_cast<double>(data.x.rows);
  for (const Lane& lane : lanes) {
    loss += lane.loss * scale;
    for (size_t i = 0; i < gradient.weight.size(); ++i)
      gradient.weight[i] += lane.gradient.weight[i] * scale;
    for (int64_t k = 0; k < classes; ++k) gradient.bias[k] += lane.gradient.bias[k] * scale;
  }
  return loss;
}

Fit fit_classifier(const CpuExec& ex, const LabelledFeatures& data, const LinearClassifier& start,
                   const FitOptions& options, const DataLoss& loss) {
  check(data.x.rows > 0 && static_cast<int64_t>(data.labels.size()) == data.x.rows,
        "probe: {} labels for {} rows", data.labels.size(), data.x.rows);
  check(start.dims == data.x.columns, "probe: a classifier of {} features for {}", start.dims,
        data.x.columns);
  constexpr double kLeastRidge = 1e-3;
  const Preconditioner preconditioner(
      ex, data.x, std::max(kLeastRidge, static_cast<double>(start.classes) * options.l2));
  const DataLoss on_host = [&](const LinearClassifier& at, LinearClassifier& gradient) {
    return data_loss(ex, data, at, gradient);
  };
  Objective objective{loss ? loss : on_host, options, preconditioner, start, start};
  const auto n = static_cast<int>(start.weight.size() + start.bias.size());
  // Aligned for the library's SSE2 code.
  const std::unique_ptr<double, decltype(&lbfgs_free)> variables(lbfgs_malloc(n), lbfgs_free);
  check(variables != nullptr, "probe: no memory for {} variables", n);
  objective.write(variables.get());
  lbfgs_parameter_t parameters = parameters_of(options);
  Fit fit;
  const int status = lbfgs(n, variables.get(), &fit.loss, Objective::evaluate, Objective::progress,
                           &objective, &parameters);
  if (objective.error) std::rethrow_exception(objective.error);
  if (StopSignals::requested())
    fail(ExitCode::kStopped, "stopped on request; run it again for a result");
  if (!std::isfinite(fit.loss) || !is_usable(status)) {
    fail(ExitCode::kNumerical,
         "probe: no minimum found (L-BFGS status {}, loss {}): are the features finite?", status,
         fit.loss);
  }
  objective.read(variables.get());
  fit.classifier = objective.classifier;
  fit.iterations = objective.iterations;
  return fit;
}

Accuracy accuracy(const CpuExec& ex, const LabelledFeatures& data,
                  const LinearClassifier& classifier) {
  const int64_t classes = classifier.classes;
  const std::vector<float> weight = to_floats(classifier.weight);
  const ConstView weight_view(weight.data(), {classes, classifier.dims}, DType::kF32);
  std::vector<std::pair<int64_t, int64_t>> hits(kLanes);
  for_blocks(ex, data.x.rows, [&](int64_t lane, int64_t begin, int64_t rows) {
    BlockScores scores;
    scores.compute(data, begin, rows, weight_view, classifier.bias);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t rank = rank_of(scores, classes, rows, i, data.labels[begin + i]);
      hits[lane].first += rank < 1 ? 1 : 0;
      hits[lane].second += rank < 5 ? 1 : 0;
    }
  });
  int64_t top1 = 0, top5 = 0;
  for (const auto& [first, among_five] : hits) {
    top1 += first;
    top5 += among_five;
  }
  const auto rows = static_cast<double>(data.x.rows);
  return {static_cast<double>(top1) / rows, static_cast<double>(top5) / rows};
}

ProbeResult probe(const CpuExec& ex, const Context& ctx, LabelledFeatures train,
                  LabelledFeatures test, int64_t classes) {
  const FeatureStats stats = feature_stats(ex, train.x);
  standardize(ex, train.x, stats);
  standardize(ex, test.x, stats);
  const HeldOut held = hold_out(train.x.rows, train.x.rows / 6, 0);
  ProbeResult result;
  result.selection_rows = static_cast<int64_t>(held.val.size());
  const auto [l2, start] = choose_penalty(ex, ctx, rows_at(train.x, train.labels, held.train),
                                          rows_at(train.x, train.labels, held.val),
                                          LinearClassifier(classes, train.x.columns));
  const Fit fit = fit_classifier(ex, train, start, {.l2 = l2}, loss_on(ctx, train, classes));
  result.l2 = l2;
  result.iterations = fit.iterations;
  result.accuracy = accuracy(ex, test, fit.classifier);
  return result;
}

}  // namespace bigbigan
