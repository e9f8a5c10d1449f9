// Note [Exact rewrites] leave a model the same function, gradients included.
#include <catch2/catch.hpp>

#include "tests/models/small_model.h"

using namespace bigbigan;

namespace {

ModelConfig large_config() {
  ModelConfig c = attention_config();
  c.resolution = 64;
  c.z_dim = 10;
  c.g_channels = {8, 8, 8, 8, 3};
  c.d_channels = {8, 8, 8, 5, 6};
  c.g_attention = c.d_attention = 32;
  c.encoder = "resnet14";
  c.encoder_channels.clear();
  c.encoder_width = 0.0625;
  return c;
}

void check_equal(const char* network, ParamStore& a, ParamStore& b) {
  INFO(network);
  CHECK(norm(read(b.grad)) > 0);
  // Bias gradients are sums of thousands of terms that nearly cancel: one digit more than the rest.
  CHECK(differences(a, b, &ParamStore::grad, 1e-11, 1e-12) == "");
  CHECK(relative_distance(read(a.statistics), read(b.statistics)) <= 1e-12);
  CHECK(relative_distance(read(a.directions), read(b.directions)) <= 1e-12);
}

}  // namespace

TEST_CASE("rewrites: the same losses and gradients in f64") {
  ModelConfig config;
  SECTION("32x32") { config = small_config(); }
  SECTION("32x32 with attention") { config = attention_config(); }
  SECTION("64x64 with attention and a bottleneck encoder") { config = large_config(); }
  config.rewrites = true;
  SmallModel with(config);
  config.rewrites = false;
  SmallModel without(config);
  const auto gradients = [](SmallModel& m) {
    const StepInputs in = m.inputs(0, 3, 3);
    const std::vector<double> d = read(m.model.discriminator_gradients(m.ctx, in));
    std::vector<double> terms = read(m.model.encoder_generator_gradients(m.ctx, in));
    terms.insert(terms.end(), d.begin(), d.end());
    return terms;
  };
  CHECK(relative_distance(gradients(with), gradients(without)) <= 1e-12);
  check_equal("D", with.model.d_store, without.model.d_store);
  check_equal("G", with.model.g_store, without.model.g_store);
  check_equal("E", with.model.e_store, without.model.e_store);
}
