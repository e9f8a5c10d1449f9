// The engine against an independent program: the golden files of the PyTorch peer, f64 and f32,
// with the exact rewrites and without.
#include <catch2/catch.hpp>

#include "engine/ops/elementwise.h"
#include "tests/models/golden.h"
#include "train/step.h"

using namespace bigbigan;

namespace {

constexpr int kSteps = 3;
constexpr const char* kCases[] = {"basic",   "attention",  "pooled",     "deterministic",
                                  "uniform", "no_encoder", "joint_only", "latent_only"};

// Runs `body` for every golden file, type and form of the convolutions.
template <class Body>
void for_all_settings(const Body& body) {
  for (const char* name : kCases) {
    for (const DType dtype : {DType::kF64, DType::kF32}) {
      for (const bool rewrites : {true, false}) {
        INFO(name << ", " << name_of(dtype) << (rewrites ? ", rewrites" : ", plain"));
        Golden golden(name);
        golden.config.model.rewrites = rewrites;
        body(golden, dtype);
      }
    }
  }
}

// A tensor of the engine beside its golden digest.
struct Pair {
  std::string name;
  Values found, golden;
};

double scale_of(const Pair& pair) {
  return pair.found.size() > kDigestBelow ? pair.golden[0] : largest(pair.golden);
}

// Requires every element to agree within `tolerance` times the tensor's largest magnitude, or
// `floor` times that of all pairs if it is more: gradients of biases that a later batch norm takes
// out are sums that cancel, and their rounding is of the size of what cancels. In f32 a sum of n
// elements may be off by sqrt(n) times as much.
void check_pairs(const std::vector<Pair>& pairs, DType dtype, double tolerance, double floor = 0) {
  REQUIRE_FALSE(pairs.empty());
  double most = 0;
  for (const Pair& pair : pairs) most = std::max(most, scale_of(pair));
  for (const Pair& pair : pairs) {
    INFO(pair.name);
    const Values own = digest(pair.found);
    REQUIRE(own.size() == pair.golden.size());
    const double limit = tolerance * std::max(scale_of(pair), floor * most);
    for (size_t i = 0; i < own.size(); ++i) {
      const bool is_sum = own.size() != pair.found.size() && i > 0;
      const double spread = is_sum && dtype == DType::kF32 ? std::sqrt(pair.found.size()) : 1.0;
      INFO((is_sum ? "sum " : "element ")
           << i << ": " << own[i] << ", expected " << pair.golden[i]);
      CHECK(std::abs(own[i] - pair.golden[i]) <= limit * spread);
    }
  }
}

double tolerance_of(DType dtype) { return dtype == DType::kF64 ? 1e-9 : 1e-5; }
double floor_of(DType dtype) { return dtype == DType::kF64 ? 1e-3 : 1e-1; }

// Scores and outputs of F, H and J for one half of the pairs.
void add_half(const BigBiGAN& model, const Context& ctx, const PreparedWeights& d,
              const std::string& half, const Tensor& x, const Tensor& z,
              std::map<std::string, Tensor>& out) {
  const Discriminator& net = model.discriminator;
  const Var f = net.image(ctx, d, x);
  out[half + ".f"] = f.value;
  if (model.config.loss_x) out[half + ".score_x"] = net.score_x(ctx, d, f).value;
  if (!model.encoder) return;
  const Var h = net.latent(ctx, d, z);
  out[half + ".h"] = h.value;
  if (model.config.loss_z) out[half + ".score_z"] = net.score_z(ctx, d, h).value;
  if (!model.config.loss_xz) return;
  const Var j = net.joint(ctx, d, f, h);
  out[half + ".j"] = j.value;
  out[half + ".score_xz"] = net.score_xz(ctx, d, j).value;
}

// Everything a first D update computes on the way; with `stored` the same in evaluation.
std::map<std::string, Tensor> forward_values(const BigBiGAN& model, Context ctx,
                                             const StepInputs& in, bool stored) {
  ctx.batch_statistics = ctx.power_iteration = !stored;
  std::map<std::string, Tensor> out;
  out["generated"] = model.generator(ctx, model.generator.prepare(ctx), in.z).value;
  Tensor latent;
  if (model.encoder) {
    const EncoderOutput encoded = (*model.encoder)(ctx, in.x);
    out["avepool"] = encoded.avepool.value;
    std::tie(out["mean"], out["stdev"]) = model.encoder->mean_and_stdev(ctx, encoded);
    latent = model.encoder->sample(ctx, encoded, in.eps).value;
  }
  const PreparedWeights d = model.discriminator.prepare(ctx);
  add_half(model, ctx, d, "real", model.discriminator_image(ctx, in.x), latent, out);
  add_half(model, ctx, d, "fake", out["generated"], in.z, out);
  return out;
}

void check_terms(const std::string& name, const Tensor& terms, const Values& golden,
                 double tolerance) {
  INFO(name);
  for (size_t i = 0; i < golden.size(); ++i) {
    INFO("term " << i);
    CHECK(values_of(terms)[i] == Approx(golden[i]).epsilon(tolerance).margin(tolerance));
  }
}

void check_gradients(Golden& golden, GoldenModel& own, const std::string& network,
                     double tolerance) {
  INFO("gradients");
  const auto gradients = own.gradients();
  std::vector<Pair> pairs;
  for (const std::string& name : golden.names("gradient.")) {
    if (!name.starts_with(network)) continue;
    pairs.push_back({name, gradients.at(name), golden.values("gradient." + name)});
  }
  check_pairs(pairs, own.ctx.dtype, tolerance, floor_of(own.ctx.dtype));
}

// What three steps leave of one network: weights and buffers, their averages, and Adam's moments.
struct AfterSteps {
  std::vector<Pair> weights, means, squares;
};

AfterSteps after_steps(Golden& golden, GoldenModel& own, const std::string& network) {
  const auto live = own.exported(WeightSet::kLive), average = own.exported(WeightSet::kEma),
             adam = own.exported(WeightSet::kAdam);
  AfterSteps result;
  for (const std::string& name : golden.names("after.")) {
    if (!name.starts_with(network)) continue;
    const Values all = golden.values("after." + name);
    const int64_t rows = golden.shape("after." + name)[0];
    const size_t length = all.size() / static_cast<size_t>(rows);
    auto row = all.begin();
    const auto take = [&](std::vector<Pair>& list, const std::string& what, const Values& found) {
      REQUIRE(row != all.end());
      list.push_back({name + what, found, Values(row, row + static_cast<ptrdiff_t>(length))});
      row += static_cast<ptrdiff_t>(length);
    };
    take(result.weights, "", live.at(name));
    if (average.contains(name) && !name.ends_with(".u"))
      take(result.weights, " average", average.at(name));
    if (adam.contains(name + ".m")) {
      take(result.means, " m", adam.at(name + ".m"));
      take(result.squares, " v", adam.at(name + ".v"));
    }
    REQUIRE(row == all.end());
  }
  return result;
}

}  // namespace

TEST_CASE("parity: forward values of all networks, in training and in evaluation") {
  for_all_settings([](Golden& golden, DType dtype) {
    for (const std::string prefix : {"forward.", "stored."}) {
      INFO(prefix);
      GoldenModel own(golden, dtype);
      const auto values =
          forward_values(own.model, own.ctx, own.inputs(golden, 0), prefix == "stored.");
      const auto names = golden.names(prefix);
      REQUIRE(names.size() == values.size());
      std::vector<Pair> pairs;
      for (const std::string& name : names) {
        pairs.push_back({name, values_of(values.at(name)), golden.values(prefix + name)});
      }
      check_pairs(pairs, dtype, tolerance_of(dtype));
    }
  });
}

TEST_CASE("parity: losses and gradients of both updates") {
  for_all_settings([](Golden& golden, DType dtype) {
    const double tolerance = tolerance_of(dtype);
    {
      GoldenModel own(golden, dtype);
      const Tensor terms = own.model.discriminator_gradients(own.ctx, own.inputs(golden, 0));
      check_terms("terms of L_D", terms, golden.values("terms.d"), tolerance);
      check_gradients(golden, own, "discriminator.", tolerance);
    }
    GoldenModel own(golden, dtype);
    const Tensor terms = own.model.encoder_generator_gradients(own.ctx, own.inputs(golden, 0));
    check_terms("terms of L_EG", terms, golden.values("terms.eg"), tolerance);
    check_gradients(golden, own, "generator.", tolerance);
    if (own.model.encoder) check_gradients(golden, own, "encoder.", tolerance);
  });
}

TEST_CASE("parity: three training steps") {
  for_all_settings([](Golden& golden, DType dtype) {
    // With a small eps Adam scales f32's rounding of small gradients up to steps of full size.
    if (dtype == DType::kF32 && golden.config.optim.eps < 1e-4) return;
    GoldenModel own(golden, dtype);
    TrainingStep step(golden.config, own.model, own.ctx);
    int64_t sub_step = 0;
    for (int64_t i = 1; i <= kSteps; ++i) {
      step.begin();
      for (int64_t d = 0; d < golden.config.train.d_steps; ++d) {
        step.discriminator_update([&](int64_t) { return own.inputs(golden, sub_step++); });
      }
      step.encoder_generator_update([&](int64_t) { return own.inputs(golden, sub_step++); }, i);
      REQUIRE_FALSE(step.report().skipped);
    }
    for (const ParamStore* store : own.model.stores()) {
      const AfterSteps after = after_steps(golden, own, store->name() + ".");
      check_pairs(after.weights, dtype, tolerance_of(dtype));
      // In f32 the weights have moved apart by then, and a ReLU here and there stands on the other
      // side.
      // The last gradients, at weights that differ by f32's rounding.
      const double moments = dtype == DType::kF64 ? 1e-9 : 1e-4, floor = floor_of(dtype);
      check_pairs(after.means, dtype, moments, floor);
      check_pairs(after.squares, dtype, moments, floor * floor);
    }
  });
}
