// The losses on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/loss/adversarial.h"
#include "kernels/loss/softmax_cross_entropy.h"
#include "tests/cuda/twins.h"

using namespace bigbigan;

namespace {

constexpr DType kDType = DType::kF32;

// Scores of each set, -1 where it is switched off; some of different length, as no batch has them.
const std::vector<std::array<int64_t, kScoreCount>> kCounts = {
    {1, 1, 1, 1, 1, 1},         {3, 31, 33, 3, 31, 33}, {0, 5, 5, 5, 5, 0},
    {64, -1, -1, 64, -1, -1},   {-1, 7, -1, -1, 7, -1}, {-1, -1, -1, -1, -1, -1},
    {600, 513, 1, 1, 600, 257},
};

}  // namespace

TEST_CASE("adversarial losses") {
  const AdversarialLoss loss = GENERATE(AdversarialLoss::kHinge, AdversarialLoss::kLinear);
  for (const auto& counts : kCounts) {
    Twins twins;
    std::array<Twin, kScoreCount> scores, d_scores;
    for (int i = 0; i < kScoreCount; ++i) {
      if (counts[i] < 0) continue;
      scores[i] = twins.normal({counts[i]}, kDType, 2.0, 0.5);
      d_scores[i] =
          i % 2 == 0 ? twins.fresh({counts[i]}, kDType) : twins.normal({counts[i]}, kDType);
    }
    const Twin terms = twins.fresh({kLossTermCount}, kDType);
    twins.run([&](const auto& ex, auto at) {
      AdversarialArgs args{.loss = loss, .batch = 48};
      ScoreGradients gradients;
      for (int i = 0; i < kScoreCount; ++i) {
        if (counts[i] < 0) continue;
        args.scores[i] = at(scores[i]);
        gradients.view[i] = at(d_scores[i]);
        gradients.accumulate[i] = i % 2 != 0;
      }
      adversarial_forward(ex, args, at(terms));
      adversarial_backward(ex, args, gradients);
    });
    twins.require_close(terms, sum_tolerance(kDType));
    for (int i = 0; i < kScoreCount; ++i) {
      INFO("score " << i << " of " << counts[i]);
      if (counts[i] >= 0) twins.require_close(d_scores[i], sum_tolerance(kDType));
    }
  }
}

TEST_CASE("adversarial losses: a NaN shows in the loss and keeps its gradient") {
  Twins twins;
  const Twin s = twins.of({2}, kDType, std::vector<double>{std::nan(""), 5.0});
  const Twin terms = twins.fresh({kLossTermCount}, kDType), d = twins.fresh({2}, kDType);
  twins.run([&](const auto& ex, auto at) {
    AdversarialArgs args{.loss = AdversarialLoss::kHinge, .batch = 2};
    args.scores[0] = at(s);
    ScoreGradients gradients;
    gradients.view[0] = at(d);
    adversarial_forward(ex, args, at(terms));
    adversarial_backward(ex, args, gradients);
  });
  REQUIRE(std::isnan(read(terms.cuda)[kLossTotal]));
  REQUIRE(read(d.cuda) == std::vector<double>{-0.5, 0.0});
}

namespace {

// A classifier's scores and labels, and all that softmax_cross_entropy makes of them.
struct Classifier {
  Twin logits, labels, terms, d_logits, scratch;

  Classifier(Twins& twins, const Shape& shape, DType dtype, double scale) {
    const int64_t rows = shape[0], classes = shape[1];
    logits = twins.normal(shape, dtype, scale);
    std::vector<int64_t> classes_of(rows);
    for (int64_t i = 0; i < rows; ++i)
      classes_of[i] =
          i % 7 == 5 ? (i % 2 == 0 ? classes : -1) : i * i % std::max<int64_t>(1, classes);
    labels = twins.of_integers({rows}, classes_of);
    terms = twins.fresh({kCrossEntropyTermCount}, DType::kF64);
    d_logits = twins.normal(shape, dtype);
    const int64_t elems = cross_entropy_scratch_elems(rows);
    scratch = twins.of({elems}, DType::kF64, std::vector<double>(elems));
  }
  void run(const Twins& twins, bool accumulate = false) const {
    twins.run([&](const auto& ex, auto at) {
      softmax_cross_entropy(ex, {.logits = at(logits),
                                 .labels = at(labels),
                                 .scale = 0.25,
                                 .terms = at(terms),
                                 .d_logits = at(d_logits),
                                 .accumulate = accumulate,
                                 .scratch = at(scratch)});
    });
  }
};

}  // namespace

TEST_CASE("softmax cross-entropy") {
  const DType dtype = GENERATE(DType::kF32, DType::kBF16);
  const double scale = GENERATE(1.0, 1e4);  // exp of 1e4 overflows
  for (const Shape& shape :
       std::vector<Shape>{{0, 10}, {1, 1}, {3, 0}, {31, 33}, {33, 31}, {5, 1000}, {2100, 8}}) {
    for (const bool accumulate : {false, true}) {
      Twins twins;
      const Classifier c(twins, shape, dtype, scale);
      c.run(twins, accumulate);
      INFO(to_string(shape) << ", scale " << scale << ", accumulate " << accumulate);
      const std::vector<double> found = read(c.terms.cuda), expected = read(c.terms.cpu);
      REQUIRE(found[kCrossEntropyLoss] ==
              Approx(expected[kCrossEntropyLoss]).epsilon(sum_tolerance(DType::kF32, shape[1])));
      REQUIRE(found[kCrossEntropyCorrect] == expected[kCrossEntropyCorrect]);
      REQUIRE(found[kCrossEntropyInvalid] == expected[kCrossEntropyInvalid]);
      twins.require_close(c.d_logits, sum_tolerance(dtype, shape[1]));
      // Neither the scratch nor the order of blocks shows in a second run.
      if (accumulate) continue;
      const std::vector<double> d_logits = read(c.d_logits.cuda);
      write(c.terms.cuda, std::vector<double>(kCrossEntropyTermCount, -1));
      c.run(twins);
      REQUIRE(read(c.terms.cuda) == found);
      REQUIRE(read(c.d_logits.cuda) == d_logits);
    }
  }
}

TEST_CASE("softmax cross-entropy: of equal logits the first class is the answer") {
  Twins twins;
  Classifier c(twins, {4, 33}, DType::kF32, 0);
  c.labels = twins.of_integers({4}, std::vector<int64_t>{0, 1, 32, 0});
  c.run(twins);
  REQUIRE(read(c.terms.cuda)[kCrossEntropyCorrect] == 2);
  REQUIRE(read(c.terms.cpu)[kCrossEntropyCorrect] == 2);
  REQUIRE(read(c.terms.cuda)[kCrossEntropyLoss] == Approx(std::log(33.0)).epsilon(1e-6));
}
