// Parameter counts of presets and variants, to the unit. The expected numbers are sums over the
// published architectures (BigGAN, ResNet-v2 and the paper's MLPs), made by hand and not from this
// code.
#include <catch2/catch.hpp>
#include <map>

#include "models/bigbigan/describe.h"
#include "train/config.h"

using namespace bigbigan;

namespace {

using Counts = std::map<std::string, int64_t>;
using Overrides = std::vector<std::string>;

ModelConfig model_config(const std::string& preset, const Overrides& overrides) {
  Config config;
  apply_toml(config_fields(config), preset_text(preset), preset);
  for (const std::string& o : overrides) apply_override(config_fields(config), o);
  return config.model;
}

// Requires the counts named in `expected`.
void check_counts(const std::string& preset, const Overrides& overrides, const Counts& expected) {
  const BigBiGAN model(model_config(preset, overrides));
  Counts found;
  for (const auto& [name, count] : parameter_counts(model)) found[name] = count;
  for (const auto& [name, count] : expected) {
    INFO(preset << (overrides.empty() ? "" : " " + overrides[0]) << ": " << name);
    REQUIRE(found.contains(name));
    CHECK(found[name] == count);
  }
}

// Requires the counts of all parameters whose names start with a prefix.
void check_layers(const ParamStore& store, const Counts& expected) {
  int64_t sum = 0;
  for (const auto& [prefix, count] : expected) {
    INFO(prefix);
    CHECK(store.parameter_count(prefix) == count);
    sum += count;
  }
  CHECK(sum == store.parameter_count());
}

// Resolution 32 with three image channels; `overrides` on top.
Overrides at_32(Overrides overrides) {
  overrides.emplace_back("model.image_channels=3");
  return overrides;
}

}  // namespace

TEST_CASE("parameter counts of the base preset") {
  check_counts("base", {},
               {{"generator", 70'306'116},
                {"image_branch", 86'446'370},
                {"latent_branch", 29'868'032},
                {"joint_branch", 44'056'576},
                {"score_heads", 4'098},
                {"discriminator", 160'375'076},
                {"encoder_backbone", 23'500'352},
                {"encoder_head", 68'108'528},
                {"encoder", 91'608'880},
                {"total", 322'290'072}});
}

TEST_CASE("parameter counts of the base preset, layer by layer") {
  const BigBiGAN model(model_config("base", {}));
  check_layers(model.g_store, {{"generator.shared.", 128},
                               {"generator.linear.", 516'096},
                               {"generator.block_0.", 45'740'544},
                               {"generator.block_1.", 17'789'184},
                               {"generator.block_2.", 4'618'368},
                               {"generator.block_3.", 1'240'128},
                               {"generator.attention.", 46'081},
                               {"generator.block_4.", 352'800},
                               {"generator.output_bn.", 192},
                               {"generator.output_conv.", 2'595}});
  check_layers(model.d_store, {{"discriminator.image.block_0.", 86'112},
                               {"discriminator.image.attention.", 11'521},
                               {"discriminator.image.block_1.", 516'672},
                               {"discriminator.image.block_2.", 2'065'536},
                               {"discriminator.image.block_3.", 8'259'840},
                               {"discriminator.image.block_4.", 33'034'752},
                               {"discriminator.image.block_5.", 42'470'400},
                               {"discriminator.image.score.", 1'537},
                               {"discriminator.latent.block_", 29'868'032},
                               {"discriminator.latent.score.", 2'049},
                               {"discriminator.joint.block_", 44'056'576},
                               {"discriminator.joint.score.", 2'049}});
  check_layers(model.e_store, {{"encoder.stem.", 9'408},
                               {"encoder.stage_0.", 214'912},
                               {"encoder.stage_1.", 1'218'048},
                               {"encoder.stage_2.", 7'095'296},
                               {"encoder.stage_3.", 14'958'592},
                               {"encoder.final_bn.", 4'096},
                               {"encoder.head.", 67'125'248},
                               {"encoder.output.", 983'280}});
}

TEST_CASE("parameter counts of the paper's other rows") {
  check_counts("small-g-64", {}, {{"generator", 31'850'756}, {"image_branch", 86'446'370}});
  check_counts("small-g-32", {}, {{"generator", 8'415'428}, {"image_branch", 86'446'370}});
  check_counts("low-res-g", {}, {{"generator", 70'094'340}, {"image_branch", 43'975'970}});
  check_counts("low-res-g", {"model.z_dim=120"}, {{"generator", 70'249'476}});
  check_counts("high-res-g", {}, {{"generator", 81'969'732}, {"image_branch", 97'689'890}});
  check_counts("high-res-e", {}, {{"encoder", 91'608'880}, {"generator", 70'306'116}});
  check_counts("resnet101", {}, {{"encoder_backbone", 42'492'480}, {"encoder", 110'601'008}});
  check_counts("resnet50x2", {}, {{"encoder_backbone", 93'891'712}, {"encoder", 162'000'240}});
  check_counts("resnet50x2", {"model.encoder_width=4"}, {{"encoder_backbone", 375'347'456}});
  // One output per latent dimension: 4096 * 120 + 120.
  check_counts("deterministic-e", {}, {{"encoder_head", 67'125'248 + 491'640}});
  check_counts("uniform-pz", {}, {{"encoder_head", 67'125'248 + 491'640}});
  check_counts("no-e-gan", {},
               {{"discriminator", 86'446'370}, {"encoder", 0}, {"total", 156'752'486}});
  check_counts("no-unaries", {}, {{"image_branch", 86'446'370 - 1'537}, {"score_heads", 2'049}});
}

TEST_CASE("parameter counts at 32x32") {
  check_counts("fmnist-32", at_32({"model.encoder=resnet50", "model.encoder_width=1"}),
               {{"generator", 4'286'083},
                {"image_branch", 4'204'801},
                {"latent_branch", 1'921'024},
                {"joint_branch", 2'625'536},
                {"score_heads", 1'026},
                {"encoder_backbone", 23'492'672},
                {"encoder_head", 2'885'632 + 82'080}});
  check_counts("fmnist-32", at_32({"model.encoder_width=1", "model.encoder_head_width=1024"}),
               {{"encoder_backbone", 13'930'816}, {"encoder_head", 7'344'128 + 164'000}});
  check_counts("fmnist-32", at_32({}),
               {{"encoder_backbone", 3'488'928}, {"encoder_head", 1'837'056 + 82'080}});
  check_counts("fmnist-32", at_32({"model.encoder=resnet14", "model.encoder_width=0.25"}),
               {{"encoder_backbone", 502'544}});
  check_counts("fmnist-32", at_32({"model.g_width=96", "model.g_attention=16"}),
               {{"generator", 9'415'044}});
  check_counts("fmnist-32", at_32({"model.mlp_width=1024"}),
               {{"latent_branch", 7'512'064}, {"joint_branch", 9'969'664}, {"score_heads", 2'050}});
  check_counts("fmnist-32", at_32({"model.g_width=8", "model.d_width=8", "model.mlp_width=64"}),
               {{"generator", 127'299},
                {"image_branch", 66'849},
                {"latent_branch", 39'424},
                {"joint_branch", 41'472}});
}
