// The losses against the paper's formulas, by hand.
#include "engine/ops/loss.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

double hinge(double t) { return std::max(0.0, 1 - t); }

// Two encoder pairs and one generator pair of a global batch of 4.
struct Scores {
  HostAllocator allocator;
  Context ctx{.exec = CpuExec{}, .allocator = &allocator, .dtype = DType::kF64};
  std::vector<double> x = {0.5, 3.0}, z = {-2.0, 1.0}, xz = {0.25, -0.5};
  std::vector<double> x_fake = {-0.5}, z_fake = {-1.0}, xz_fake = {2.0};

  Var var(const std::vector<double>& values) {
    return tensor_of(ctx, {static_cast<int64_t>(values.size()), 1}, ctx.dtype, values);
  }
  PairScores encoder() { return {var(x), var(z), var(xz)}; }
  PairScores generator() { return {var(x_fake), var(z_fake), var(xz_fake)}; }
};

}  // namespace

TEST_CASE("discriminator loss: each score has its own hinge") {
  Scores s;
  const std::vector<double> terms = read(discriminator_loss(s.ctx, s.encoder(), s.generator(), 4));
  const double l_x = (hinge(0.5) + hinge(3.0) + hinge(0.5)) / 4;
  const double l_z = (hinge(-2.0) + hinge(1.0) + hinge(1.0)) / 4;
  const double l_xz = (hinge(0.25) + hinge(-0.5) + hinge(-2.0)) / 4;
  CHECK(terms[kLossX] == Approx(l_x));
  CHECK(terms[kLossZ] == Approx(l_z));
  CHECK(terms[kLossXZ] == Approx(l_xz));
  CHECK(terms[kLossTotal] == Approx(l_x + l_z + l_xz));
  CHECK(terms[kScoreXReal] == Approx(3.5 / 4));
  CHECK(terms[kScoreZFake] == Approx(-1.0 / 4));
  for (int i = kScoreXZFake + 1; i < kLossTermCount; ++i) CHECK(terms[i] == 0);
}

TEST_CASE("encoder-generator loss: linear, real minus fake") {
  Scores s;
  const std::vector<double> terms =
      read(encoder_generator_loss(s.ctx, s.encoder(), s.generator(), 4));
  CHECK(terms[kLossX] == Approx((0.5 + 3.0 + 0.5) / 4));
  CHECK(terms[kLossZ] == Approx((-2.0 + 1.0 + 1.0) / 4));
  CHECK(terms[kLossXZ] == Approx((0.25 - 0.5 - 2.0) / 4));
}

TEST_CASE("losses: a score that is switched off has no part") {
  Scores s;
  PairScores encoder = s.encoder(), generator = s.generator();
  encoder.s_z = generator.s_z = Var();
  for (const auto loss : {discriminator_loss, encoder_generator_loss}) {
    const std::vector<double> all = read(loss(s.ctx, s.encoder(), s.generator(), 4));
    const std::vector<double> some = read(loss(s.ctx, encoder, generator, 4));
    CHECK(some[kLossZ] == 0);
    CHECK(some[kLossX] == all[kLossX]);
    CHECK(some[kLossTotal] == Approx(all[kLossX] + all[kLossXZ]));
  }
}

TEST_CASE("discriminator loss: no gradient beyond the margin or on it") {
  Scores s;
  Tape tape;
  const Context taped = s.ctx.with_tape(&tape);
  PairScores encoder = s.encoder(), generator = s.generator();
  encoder.s_x = tape.input(encoder.s_x.value);
  encoder.s_z = tape.input(encoder.s_z.value);
  generator.s_z = tape.input(generator.s_z.value);
  discriminator_loss(taped, encoder, generator, 4);
  tape.backward(s.ctx);
  CHECK(read(tape.gradient(encoder.s_x)) == std::vector<double>{-0.25, 0.0});
  CHECK(read(tape.gradient(encoder.s_z)) == std::vector<double>{-0.25, 0.0});
  CHECK(read(tape.gradient(generator.s_z)) == std::vector<double>{0.0});
}

TEST_CASE("losses: an empty global batch is refused") {
  Scores s;
  CHECK_THROWS_AS(discriminator_loss(s.ctx, s.encoder(), s.generator(), 0), Error);
}

// By hand: log(e^1 + e^2 + e^3) - 3 for the first row, no loss for the second, whose label is none.
TEST_CASE("softmax cross-entropy: terms and gradient of two rows") {
  Scores s;
  const Tensor logits =
      tensor_of(s.ctx, {2, 3}, DType::kF64, std::vector<double>{1, 2, 3, 9, 8, 7});
  const int64_t labels[] = {2, 3};
  Tape tape;
  const Var x = tape.input(logits);
  const Tensor terms = softmax_cross_entropy(
      s.ctx.with_tape(&tape), x, Tensor::from_host(s.ctx, {2}, DType::kI64, labels), 0.5);
  const double sum = std::exp(1) + std::exp(2) + std::exp(3);
  CHECK(read(terms)[kCrossEntropyLoss] == Approx((std::log(sum) - 3) / 2));
  CHECK(read(terms)[kCrossEntropyCorrect] == 1);
  CHECK(read(terms)[kCrossEntropyInvalid] == 1);
  tape.backward(s.ctx);
  const std::vector<double> d = read(tape.gradient(x));
  for (int c = 0; c < 3; ++c) {
    CHECK(d[c] == Approx((std::exp(c + 1) / sum - (c == 2 ? 1 : 0)) / 2));
    CHECK(d[3 + c] == 0);
  }
}
