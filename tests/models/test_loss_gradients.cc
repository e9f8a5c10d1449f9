// The gradients of both losses with respect to every parameter, against central differences in f64.
#include <catch2/catch.hpp>

#include "tests/harness/weight_gradients.h"
#include "tests/models/small_model.h"

using namespace bigbigan;

namespace {

// u of spectral norm comes to rest: only there is the gradient with constant u and v the
// derivative.
void converge(SmallModel& m) {
  Context ctx = m.ctx;
  ctx.power_iteration = true;
  for (int i = 0; i < 3000; ++i) {
    static_cast<void>(m.model.generator.prepare(ctx));
    static_cast<void>(m.model.discriminator.prepare(ctx));
  }
}

using Loss = Tensor (BigBiGAN::*)(const Context&, const StepInputs&);

class Slopes {
 public:
  Slopes(SmallModel& m, Loss loss, ParamStore& store)
      : m_(m), loss_(loss), store_(store), in_(m.inputs(0, 3, 3)) {
    for (const ParamStore* s : m.model.stores()) directions_.push_back(read(s->directions));
    start_ = read(store.value);
    value();
    gradient_ = read(weight_gradients(m.ctx, store.value, store.grad, store.normalized_weights(0)));
  }

  // Along `direction`: the difference quotient with this step, less the gradient's answer; relative
  // to the gradient's largest element.
  double error(const std::vector<double>& direction, double step) {
    double expected = 0, largest = 0;
    for (size_t i = 0; i < direction.size(); ++i) {
      expected += gradient_[i] * direction[i];
      largest = std::max(largest, std::abs(gradient_[i]));
    }
    const double found = (shifted(direction, step) - shifted(direction, -step)) / (2 * step);
    return std::abs(found - expected) / largest;
  }

  // A unit vector over the parameters whose names start with `prefix`.
  std::vector<double> direction(const std::string& prefix, uint64_t seed) const {
    std::vector<double> d(start_.size(), 0.0);
    const std::vector<double> random = noise(seed, store_.value.elems(), 1);
    double squares = 0;
    for (const auto& e : store_.entries()) {
      if (!e.name.starts_with(prefix)) continue;
      for (int64_t i = e.offset; i < e.offset + e.shape.elems(); ++i) {
        d[i] = random[i];
        squares += d[i] * d[i];
      }
    }
    REQUIRE(squares > 0);
    for (double& v : d) v /= std::sqrt(squares);
    return d;
  }

 private:
  double shifted(const std::vector<double>& direction, double step) {
    std::vector<double> values = start_;
    for (size_t i = 0; i < values.size(); ++i) values[i] += step * direction[i];
    write(store_.value, values);
    const double loss = value();
    write(store_.value, start_);
    return loss;
  }

  double value() {
    const double loss = read((m_.model.*loss_)(m_.ctx, in_))[kLossTotal];
    for (size_t i = 0; i < directions_.size(); ++i) {
      write(m_.model.stores()[i]->directions, directions_[i]);
    }
    return loss;
  }

  SmallModel& m_;
  Loss loss_;
  ParamStore& store_;
  StepInputs in_;
  std::vector<std::vector<double>> directions_;
  std::vector<double> start_, gradient_;
};

void check_gradients(SmallModel& m, Loss loss, ParamStore& store,
                     const std::vector<std::string>& parts) {
  Slopes slopes(m, loss, store);
  for (const std::string& part : parts) {
    for (uint64_t seed = 1; seed <= 3; ++seed) {
      const std::vector<double> direction = slopes.direction(part, seed);
      double error = 1;
      // Next to a ReLU's bend a smaller step is needed; a wrong gradient stays wrong with each.
      for (const double step : {1e-5, 1e-6, 1e-7})
        error = std::min(error, slopes.error(direction, step));
      INFO(part << ", direction " << seed);
      CHECK(error <= 1e-6);
    }
  }
}

}  // namespace

TEST_CASE("loss gradients: every part against central differences") {
  SmallModel m(attention_config());
  converge(m);
  check_gradients(m, &BigBiGAN::discriminator_gradients, m.model.d_store,
                  {"discriminator.image.block", "discriminator.image.attention",
                   "discriminator.image.score", "discriminator.latent", "discriminator.joint"});
  check_gradients(m, &BigBiGAN::encoder_generator_gradients, m.model.g_store,
                  {"generator.shared", "generator.linear", "generator.block_0", "generator.block_2",
                   "generator.attention", "generator.output"});
  check_gradients(m, &BigBiGAN::encoder_generator_gradients, m.model.e_store, {"encoder"});
}

TEST_CASE("loss gradients: scores that are switched off, a deterministic encoder") {
  ModelConfig config = small_config();
  SECTION("no unaries") { config.loss_x = config.loss_z = false; }
  SECTION("latent score only beside the joint one") { config.loss_x = false; }
  SECTION("deterministic") { config.encoder_stochastic = false; }
  SECTION("without rewrites") { config.rewrites = false; }
  SmallModel m(config);
  converge(m);
  check_gradients(m, &BigBiGAN::discriminator_gradients, m.model.d_store, {"discriminator"});
  check_gradients(m, &BigBiGAN::encoder_generator_gradients, m.model.g_store, {"generator"});
  check_gradients(m, &BigBiGAN::encoder_generator_gradients, m.model.e_store, {"encoder"});
}
