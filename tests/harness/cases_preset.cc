// What the networks of fmnist-32-tiny run at batch 64: G 64-32-16-8, F 8-16-32-64, E 16-32-64-128,
// MLPs 128. And what measures its features.
#include "engine/ops/elementwise.h"
#include "tests/harness/builders.h"

namespace bigbigan {
namespace {

constexpr int64_t kBatch = 64;

// A 3x3 or 1x1 convolution of G or F, which has a bias, or of E, which has none.
OpCase conv(int64_t hw, int64_t c, int64_t k, int64_t kernel, int64_t stride, bool bias,
            bool relu) {
  const int64_t pad = kernel == 4 ? 1 : kernel / 2;
  return conv_case({kBatch, hw, hw, c, k, kernel, stride, pad, bias, relu});
}

std::vector<OpCase> generator_cases() {
  const BatchNormOptions cbn{.eps = 1e-4, .gain_offset = 1.0, .relu = true};
  std::vector<OpCase> cases;
  for (int64_t hw = 4, c = 64; hw < 32; hw *= 2, c /= 2) {
    cases.push_back(bn_case({{kBatch, hw, hw, c}, Gain::kConditional, cbn}));
    cases.push_back(transposed_case(kBatch, hw, c, c / 2));
    cases.push_back(conv(2 * hw, c / 2, c / 2, 3, 1, true, false));
    cases.push_back(conv(hw, c, c / 2, 1, 1, true, false));
    cases.push_back(add_upsampled_case({kBatch, hw, hw, c / 2}));
  }
  cases.push_back(bn_case({{kBatch, 32, 32, 8}, Gain::kAffine, {.relu = true}}));
  cases.push_back(conv(32, 8, 1, 3, 1, true, false));
  cases.push_back(unary_case("tanh", {kBatch, 32, 32, 1}, tanh));
  cases.push_back(linear_case(kBatch, 20, 1024, true));
  cases.push_back(linear_case(kBatch, 148, 64, true));
  cases.push_back(spectral_case({{1024, 20},
                                 {32, 3, 3, 64},
                                 {32, 3, 3, 32},
                                 {32, 1, 1, 64},
                                 {16, 3, 3, 32},
                                 {16, 3, 3, 16},
                                 {16, 1, 1, 32},
                                 {8, 3, 3, 16},
                                 {8, 3, 3, 8},
                                 {8, 1, 1, 16},
                                 {1, 3, 3, 8}},
                                PowerIterations::kOne));
  cases.push_back(reparametrize_case(kBatch, 80));
  return cases;
}

std::vector<OpCase> discriminator_cases() {
  std::vector<OpCase> cases = {
      conv(32, 1, 8, 3, 1, true, true),    conv(32, 8, 8, 4, 2, true, false),
      conv(16, 1, 8, 1, 1, true, false),   conv(16, 8, 16, 3, 1, true, true),
      conv(16, 16, 16, 4, 2, true, false), conv(8, 8, 16, 1, 1, true, false),
      conv(8, 16, 32, 3, 1, true, true),   conv(8, 32, 32, 3, 1, true, false),
      conv(8, 32, 64, 3, 1, true, true),   conv(8, 64, 64, 3, 1, true, false)};
  cases.push_back(unary_case("relu", {kBatch, 16, 16, 8}, relu));
  cases.push_back(pool_case("avg_pool2x2", {kBatch, 32, 32, 1}));
  cases.push_back(pool_case("avg_pool2x2", {kBatch, 16, 16, 8}));
  cases.push_back(pool_case("global_sum_pool", {kBatch, 8, 8, 64}));
  cases.push_back(binary_case("add", {kBatch, 16, 16, 8}, {kBatch, 16, 16, 8}, add));
  cases.push_back(linear_case(kBatch, 80, 128, true));
  cases.push_back(linear_case(kBatch, 128, 128, true));
  cases.push_back(linear_case(kBatch, 192, 128, true));
  cases.push_back(linear_case(kBatch, 128, 1, true));
  return cases;
}

std::vector<OpCase> encoder_cases() {
  std::vector<OpCase> cases = {conv(32, 1, 16, 3, 1, false, false)};
  cases.push_back(conv(32, 16, 16, 3, 1, false, false));
  for (int64_t hw = 32, c = 16; hw >= 4; hw /= 2, c *= 2) {
    cases.push_back(bn_case({{kBatch, hw, hw, c}, Gain::kAffine, {.eps = 1e-3, .relu = true}}));
    if (hw == 4) break;
    cases.push_back(conv(hw, c, 2 * c, 3, 2, false, false));
    cases.push_back(conv(hw, c, 2 * c, 1, 2, false, false));
    cases.push_back(conv(hw / 2, 2 * c, 2 * c, 3, 1, false, false));
  }
  cases.push_back(pool_case("global_avg_pool", {kBatch, 4, 4, 128}));
  return cases;
}

// The linear probe of 1000 classes, a block of its rows.
std::vector<OpCase> probe_cases() { return {cross_entropy_case(4096, 1000, 1.5)}; }

}  // namespace

std::vector<OpCase> preset_cases() {
  std::vector<OpCase> cases;
  for (const auto network : {generator_cases, discriminator_cases, encoder_cases, probe_cases}) {
    for (OpCase& c : network()) cases.push_back(std::move(c));
  }
  return cases;
}

}  // namespace bigbigan
