// The adversarial losses on CUDA against the CPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "kernels/loss/adversarial.h"
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
