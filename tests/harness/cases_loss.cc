#include <fmt/format.h>

#include "engine/ops/loss.h"
#include "tests/harness/builders.h"

namespace bigbigan {
namespace {

using LossFunction = Tensor (*)(const Context&, const PairScores&, const PairScores&, int64_t);

struct LossSpec {
  const char* op;
  LossFunction function;
  int64_t encoder_pairs, generator_pairs;  // of this rank
  bool x = true, z = true, xz = true;      // the terms in use
};

// The loss of this rank's part of a global batch that is larger.
OpCase loss_case(const LossSpec& s) {
  OpCase c{.name = fmt::format("{}/encoder:{}/generator:{}/x:{:d}/z:{:d}/xz:{:d}", s.op,
                               s.encoder_pairs, s.generator_pairs, s.x, s.z, s.xz),
           .inputs = {},
           .run = {},
           .length = std::max<int64_t>(1, s.encoder_pairs + s.generator_pairs),
           .is_loss = true};
  const std::vector<bool> uses = {s.x, s.z, s.xz};
  for (const bool generator : {false, true}) {
    for (size_t kind = 0; kind < uses.size(); ++kind) {
      if (!uses[kind]) continue;
      // The hinge of encoder pairs bends at a score of 1, that of generator pairs at -1.
      c.inputs.push_back({.name = fmt::format("{}{}", generator ? "generator" : "encoder", kind),
                          .shape = {generator ? s.generator_pairs : s.encoder_pairs, 1},
                          .scale = 1.5,
                          .kink_margin = 0.01,
                          .kink = generator ? -1.0 : 1.0});
    }
  }
  c.run = [s](const Context& ctx, Inputs v) {
    size_t next = 0;
    const auto take = [&](bool used) { return used ? v[next++] : Var(); };
    PairScores encoder, generator;
    for (PairScores* half : {&encoder, &generator}) {
      half->s_x = take(s.x);
      half->s_z = take(s.z);
      half->s_xz = take(s.xz);
    }
    const int64_t global_batch = 2 * (s.encoder_pairs + s.generator_pairs) + 1;
    return Outputs{s.function(ctx, encoder, generator, global_batch)};
  };
  return c;
}

}  // namespace

OpCase cross_entropy_case(int64_t rows, int64_t classes, double scale) {
  OpCase c{.name = fmt::format("softmax_cross_entropy/rows:{}/classes:{}/scale:{}", rows, classes,
                               scale),
           .inputs = {{.name = "logits", .shape = {rows, classes}, .scale = scale}},
           .run = {},
           .length = std::max<int64_t>(1, classes),
           .slack = std::max(1.0, scale),  // exp turns the rounding of its argument into a factor
           .is_loss = true};
  c.run = [rows, classes](const Context& ctx, Inputs v) {
    std::vector<int64_t> labels(rows);
    for (int64_t i = 0; i < rows; ++i)
      labels[i] = i % 7 == 5 ? classes : i * i % std::max<int64_t>(1, classes);
    const Tensor on_device = Tensor::from_host(ctx, {rows}, DType::kI64, labels.data());
    return Outputs{softmax_cross_entropy(ctx, v[0], on_device,
                                         1 / static_cast<double>(std::max<int64_t>(1, rows)))};
  };
  return c;
}

std::vector<OpCase> loss_cases() {
  std::vector<OpCase> cases;
  for (const auto& [op, function] : std::vector<std::pair<const char*, LossFunction>>{
           {"discriminator_loss", discriminator_loss},
           {"encoder_generator_loss", encoder_generator_loss}}) {
    for (const LossSpec& s : std::vector<LossSpec>{{op, function, 1, 1},
                                                   {op, function, 33, 31},
                                                   {op, function, 0, 0},
                                                   {op, function, 5, 0},
                                                   {op, function, 31, 31, true, false, false},
                                                   {op, function, 31, 31, false, true, false},
                                                   {op, function, 31, 31, false, false, true},
                                                   {op, function, 3, 3, true, false, true}}) {
      cases.push_back(loss_case(s));
    }
  }
  for (const auto& [rows, classes] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {3, 2}, {31, 10}, {33, 31}, {5, 257}, {0, 10}, {70, 8}}) {
    cases.push_back(cross_entropy_case(rows, classes, 1.5));
  }
  cases.push_back(cross_entropy_case(9, 33, 40));
  return cases;
}

}  // namespace bigbigan
