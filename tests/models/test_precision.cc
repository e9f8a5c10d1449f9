// bf16 activations with f32 masters against f64: every weight's gradient of both updates.
#include <catch2/catch.hpp>

#include "tests/models/small_model.h"

using namespace bigbigan;

namespace {

// <a, b> / (|a| |b|)
double cosine(const std::vector<double>& a, const std::vector<double>& b) {
  double product = 0;
  for (size_t i = 0; i < a.size(); ++i) product += a[i] * b[i];
  return product / (norm(a) * norm(b));
}

// Directions agree to a few degrees; sizes are off by more where a gradient is a sum of scores'
// ones that cancel. A tensor whose gradient is below 1e-3 of its store's has little but rounding
// and is left out.
void require_close(ParamStore& narrow, ParamStore& exact) {
  const double nothing = 1e-3 * norm(read(exact.grad));
  for (size_t i = 0; i < exact.entries().size(); ++i) {
    const auto& entry = exact.entries()[i];
    const std::vector<double> expected = read(exact.of(exact.grad, entry));
    const std::vector<double> found = read(narrow.of(narrow.grad, entry));
    if (norm(expected) <= nothing) continue;
    INFO(entry.name << ": norm " << norm(found) << ", in f64 " << norm(expected) << ", cosine "
                    << cosine(found, expected));
    CHECK(cosine(found, expected) > 0.95);
    CHECK(norm(found) == Approx(norm(expected)).epsilon(0.3));
  }
}

}  // namespace

TEST_CASE("bf16: gradients of whole networks beside f64") {
  for (const bool rewrites : {false, true}) {
    ModelConfig config = attention_config();
    config.rewrites = rewrites;
    SmallModel exact(config, DType::kF64), narrow(config, DType::kBF16);
    const StepInputs in = exact.inputs(0, 8, 8), rounded = narrow.inputs(0, 8, 8);
    const Tensor terms = narrow.model.discriminator_gradients(narrow.ctx, rounded);
    REQUIRE(terms.dtype() == DType::kF32);
    CHECK(
        read(terms)[kLossTotal] ==
        Approx(read(exact.model.discriminator_gradients(exact.ctx, in))[kLossTotal]).epsilon(0.02));
    require_close(narrow.model.d_store, exact.model.d_store);
    narrow.model.encoder_generator_gradients(narrow.ctx, rounded);
    exact.model.encoder_generator_gradients(exact.ctx, in);
    require_close(narrow.model.g_store, exact.model.g_store);
    require_close(narrow.model.e_store, exact.model.e_store);
  }
}

TEST_CASE("bf16: a store keeps f32 masters, and a copy that follows them") {
  SmallModel small(small_config(), DType::kBF16);
  ParamStore& store = small.model.g_store;
  for (const Tensor* t : {&store.value, &store.grad, &store.adam_m, &store.adam_v, &store.ema,
                          &store.statistics, &store.directions}) {
    CHECK(t->dtype() == DType::kF32);
  }
  std::vector<double> values = read(store.value);
  for (double& v : values) v *= 1.5;
  write(store.value, values);
  store.pack();
  const std::vector<double> packed = read(store.packed);
  for (size_t i = 0; i < values.size(); ++i) {
    REQUIRE(packed[i] == static_cast<double>(bf16(static_cast<float>(values[i]))));
  }
  // The moving averages have no bf16 copy.
  store.begin_averages();
  CHECK_THROWS_AS(store.var(small.ctx, 0, DType::kBF16), Error);
  CHECK(store.var(small.ctx, 0, DType::kF32).dtype() == DType::kF32);
}
