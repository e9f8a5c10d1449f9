#include "models/bigbigan/config.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

// BigGAN's tables by resolution (BigGAN-PyTorch `G_arch`, `D_arch`; spec of the 32x32 row: its
// CIFAR form).
struct Table {
  int64_t resolution;
  std::vector<int64_t> g, d;
  int64_t d_downs, g_attention, d_attention;
};

const std::vector<Table>& tables() {
  static const std::vector<Table> kTables = {
      {32, {4, 4, 4, 4}, {4, 4, 4, 4}, 2, 0, 0},
      {64, {16, 16, 8, 4, 2}, {1, 2, 4, 8, 16}, 4, 32, 32},
      {128, {16, 16, 8, 4, 2, 1}, {1, 2, 4, 8, 16, 16}, 5, 64, 64},
      {256, {16, 16, 8, 8, 4, 2, 1}, {1, 2, 4, 8, 8, 16, 16}, 6, 128, 64},
  };
  return kTables;
}

// Units per stage of the ResNets; resnet26 and resnet14 are the light forms for 32x32 images.
const std::vector<std::pair<std::string, std::vector<int64_t>>>& bottleneck_encoders() {
  static const std::vector<std::pair<std::string, std::vector<int64_t>>> kEncoders = {
      {"resnet14", {1, 1, 1, 1}},
      {"resnet26", {2, 2, 2, 2}},
      {"resnet50", {3, 4, 6, 3}},
      {"resnet101", {3, 4, 23, 3}},
  };
  return kEncoders;
}

class Problems {
 public:
  template <class... Args>
  void require(bool holds, fmt::format_string<Args...> format, Args&&... args) {
    if (!holds) text_ += "\n  " + fmt::format(format, std::forward<Args>(args)...);
  }
  void throw_if_any() const {
    if (!text_.empty()) fail(ExitCode::kConfig, "model configuration does not fit:{}", text_);
  }

 private:
  std::string text_;
};

std::vector<int64_t> times(const std::vector<int64_t>& multipliers, int64_t width) {
  std::vector<int64_t> channels;
  channels.reserve(multipliers.size());
  for (int64_t m : multipliers) channels.push_back(m * width);
  return channels;
}

void resolve_gan(const ModelConfig& c, Architecture& a, Problems& problems) {
  const Table* table = nullptr;
  for (const Table& t : tables()) {
    if (t.resolution == c.resolution) table = &t;
  }
  problems.require(table != nullptr, "model.resolution is {}, expected 32, 64, 128 or 256",
                   c.resolution);
  if (table == nullptr) return;
  a.g_channels = c.g_channels.empty() ? times(table->g, c.g_width) : c.g_channels;
  a.d_channels = c.d_channels.empty() ? times(table->d, c.d_width) : c.d_channels;
  a.g_attention = c.g_attention < 0 ? table->g_attention : c.g_attention;
  a.d_attention = c.d_attention < 0 ? table->d_attention : c.d_attention;

  const auto blocks = static_cast<int64_t>(a.g_channels.size()) - 1;
  problems.require(blocks >= 1 && (4LL << blocks) == c.resolution,
                   "model.g_channels has {} entries, expected {} for {}x{} images (blocks + 1)",
                   a.g_channels.size(), static_cast<int64_t>(std::log2(c.resolution / 4)) + 1,
                   c.resolution, c.resolution);
  problems.require(
      blocks >= 1 && c.z_dim % (blocks + 1) == 0,
      "model.z_dim is {}, expected a multiple of {} (one chunk for the first layer and each of "
      "the {} blocks)",
      c.z_dim, blocks + 1, blocks);
  a.z_chunk = blocks >= 1 ? c.z_dim / (blocks + 1) : 0;
  // Own channel lists shrink the image to 4x4, but the last block never does.
  const auto max_downs = static_cast<int64_t>(std::log2(c.resolution / 4));
  a.d_downs = c.d_channels.empty()
                  ? table->d_downs
                  : std::min<int64_t>(max_downs, static_cast<int64_t>(a.d_channels.size()) - 1);
  const auto attends = [&](const char* key, int64_t at, int64_t lowest) {
    problems.require(at == 0 || (at >= lowest && at < c.resolution && (at & (at - 1)) == 0),
                     "{} is {}, expected 0 or a power of two in [{}, {})", key, at, lowest,
                     c.resolution);
  };
  attends("model.g_attention", a.g_attention, 8);
  attends("model.d_attention", a.d_attention, c.resolution >> a.d_downs);
}

void resolve_encoder(const ModelConfig& c, Architecture& a, Problems& problems) {
  a.encoder_resolution = c.encoder_resolution == 0 ? c.resolution : c.encoder_resolution;
  const int64_t factor = a.encoder_resolution / c.resolution;
  problems.require(
      factor * c.resolution == a.encoder_resolution && (factor == 1 || factor == 2 || factor == 4),
      "model.encoder_resolution is {}, expected 1, 2 or 4 times model.resolution {}",
      a.encoder_resolution, c.resolution);
  a.small_stem = a.encoder_resolution <= 32;
  if (c.encoder == "basic") {
    a.bottleneck = false;
    a.stage_channels = c.encoder_channels;
    a.stage_units.assign(a.stage_channels.size(), 1);
    problems.require(!a.stage_channels.empty(),
                     "model.encoder_channels is empty, expected the channels of each stage of the "
                     "basic encoder");
    if (!a.stage_channels.empty()) a.stem_channels = a.stage_channels[0];
    return;
  }
  problems.require(c.encoder_channels.empty(),
                   "model.encoder_channels is for model.encoder = \"basic\"; "
                   "the width of {} is model.encoder_width",
                   c.encoder);
  for (const auto& [name, units] : bottleneck_encoders()) {
    if (name == c.encoder) a.stage_units = units;
  }
  problems.require(
      !a.stage_units.empty(),
      "model.encoder is \"{}\", expected resnet14, resnet26, resnet50, resnet101 or basic",
      c.encoder);
  const double stem = 64 * c.encoder_width;
  problems.require(stem >= 2 && stem == std::floor(stem),
                   "model.encoder_width is {}, expected a multiple of 1/64 of at least 1/32",
                   c.encoder_width);
  a.stem_channels = static_cast<int64_t>(stem);
  for (int64_t m : {4, 8, 16, 32}) a.stage_channels.push_back(m * a.stem_channels);
}

ConfigField one_of(std::string key, std::string* value, std::string doc,
                   std::vector<std::string> choices) {
  return {
      .key = std::move(key), .value = value, .doc = std::move(doc), .choices = std::move(choices)};
}

}  // namespace

std::vector<ConfigField> config_fields(ModelConfig& c) {
  constexpr double kMaxChannels = 65536;
  return {
      {"model.resolution", &c.resolution, "side of G's images and D's input: 32, 64, 128 or 256",
       32, 256},
      {"model.image_channels", &c.image_channels, "1 gray, 3 RGB", 1, 3},
      {"model.z_dim", &c.z_dim, "latent size: a multiple of G's blocks + 1", 1, kMaxChannels},
      one_of("model.prior", &c.prior, "distribution of latents: normal N(0, I) or uniform U(-1, 1)",
             {"normal", "uniform"}),
      {"model.embed_dim", &c.embed_dim, "width of G's shared class embedding", 1, kMaxChannels},
      {"model.g_width", &c.g_width, "BigGAN's ch of G", 1, kMaxChannels},
      {"model.d_width", &c.d_width, "BigGAN's ch of D", 1, kMaxChannels},
      {"model.g_channels", &c.g_channels,
       "own channels of G: block inputs and the last output; [] for BigGAN's", 1, kMaxChannels},
      {"model.d_channels", &c.d_channels,
       "own channels of D's blocks, halving the image down to 4x4 except in the last; [] for "
       "BigGAN's",
       1, kMaxChannels},
      {"model.g_attention", &c.g_attention,
       "resolution of G's attention block; 0 none, -1 BigGAN's", -1, 256},
      {"model.d_attention", &c.d_attention,
       "resolution of D's attention block; 0 none, -1 BigGAN's", -1, 256},
      {"model.mlp_width", &c.mlp_width, "width of H and J", 1, kMaxChannels},
      {"model.mlp_blocks", &c.mlp_blocks, "residual blocks of H and of J", 1, 64},
      one_of("model.encoder", &c.encoder, "network of E",
             {"resnet14", "resnet26", "resnet50", "resnet101", "basic"}),
      {"model.encoder_width", &c.encoder_width, "width factor of the ResNets", 0.03125, 16},
      {"model.encoder_channels", &c.encoder_channels, "basic encoder: channels of its stages", 1,
       kMaxChannels},
      {"model.encoder_resolution", &c.encoder_resolution, "side of E's input; 0: model.resolution",
       0, 1024},
      {"model.encoder_head_width", &c.encoder_head_width, "width of E's residual MLP", 1,
       kMaxChannels},
      {"model.encoder_head_blocks", &c.encoder_head_blocks, "residual blocks of E's MLP", 1, 64},
      {"model.encoder_stochastic", &c.encoder_stochastic,
       "E predicts mean and deviation of z; off: z itself"},
      {"model.encoder_last_relu", &c.encoder_last_relu,
       "ReLU between E's last batch norm and its average pool"},
      {"model.loss_x", &c.loss_x, "use the unary score of images"},
      {"model.loss_z", &c.loss_z, "use the unary score of latents"},
      {"model.loss_xz", &c.loss_xz, "use the joint score"},
      {"model.rewrites", &c.rewrites,
       "compute G's and D's blocks by exact rewrites, which save a third of the arithmetic"},
      {"model.sn_eps", &c.sn_eps, "epsilon of spectral norm", 0, 1},
      {"model.g_bn_eps", &c.g_bn_eps, "epsilon of G's batch norms", 0, 1},
      {"model.e_bn_eps", &c.e_bn_eps, "epsilon of E's batch norms", 0, 1},
      {"model.bn_momentum", &c.bn_momentum, "share of the old running statistics kept per step", 0,
       1},
  };
}

Architecture architecture(const ModelConfig& config) {
  Architecture result;
  Problems problems;
  resolve_gan(config, result, problems);
  resolve_encoder(config, result, problems);
  problems.require(
      config.loss_x || config.loss_z || config.loss_xz,
      "model.loss_x, model.loss_z and model.loss_xz are all off, expected one at least");
  problems.require(
      config.prior == "normal" || !config.encoder_stochastic,
      "model.prior = \"uniform\" needs model.encoder_stochastic = false (z = tanh(linear))");
  problems.throw_if_any();
  return result;
}

}  // namespace bigbigan
