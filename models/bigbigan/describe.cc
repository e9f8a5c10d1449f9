#include "models/bigbigan/describe.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace bigbigan {

std::vector<std::pair<std::string, int64_t>> parameter_counts(const BigBiGAN& model) {
  const ParamStore &d = model.d_store, &e = model.e_store;
  const int64_t theta_z = d.parameter_count("discriminator.latent.score.");
  const int64_t theta_xz = d.parameter_count("discriminator.joint.score.");
  const int64_t head = e.parameter_count("encoder.head.") + e.parameter_count("encoder.output.");
  return {
      {"generator", model.g_store.parameter_count()},
      {"image_branch", d.parameter_count("discriminator.image.")},
      {"latent_branch", d.parameter_count("discriminator.latent.") - theta_z},
      {"joint_branch", d.parameter_count("discriminator.joint.") - theta_xz},
      {"score_heads", theta_z + theta_xz},
      {"discriminator", d.parameter_count()},
      {"encoder_backbone", e.parameter_count() - head},
      {"encoder_head", head},
      {"encoder", e.parameter_count()},
      {"total", model.g_store.parameter_count() + d.parameter_count() + e.parameter_count()},
  };
}

std::vector<std::pair<std::string, std::string>> conformance_sheet(const BigBiGAN& model) {
  const ModelConfig& c = model.config;
  const Architecture& a = model.arch;
  const auto on_off = [](bool on) { return std::string(on ? "on" : "off"); };
  const auto at = [](int64_t r) {
    return r == 0 ? std::string("none") : fmt::format("{0}x{0}", r);
  };
  return {
      {"image", fmt::format("{0}x{0}x{1} in [-1, 1], NHWC; E reads {2}x{2}", c.resolution,
                            c.image_channels, a.encoder_resolution)},
      {"labels", "one class for all images; no projection in D"},
      {"latent",
       fmt::format(
           "{} dimensions, {} prior, chunks of {}; chunk 0 to the first layer, chunk i to block i",
           c.z_dim, c.prior, a.z_chunk)},
      {"G channels", fmt::format("{}", fmt::join(a.g_channels, " "))},
      {"G conditioning",
       fmt::format("[z chunk, shared embedding {}], gain 1 + W c, shift W c, no bias in W",
                   c.embed_dim)},
      {"G first layer", "linear, reshaped as 4x4xC (NHWC); no activation before the first BN"},
      {"G batch norm",
       fmt::format("eps {:g}, momentum {:g}, biased variance, over the batch of all ranks",
                   c.g_bn_eps, c.bn_momentum)},
      {"G block", "CBN-ReLU-up-3x3, CBN-ReLU-3x3; shortcut up-1x1, always learned"},
      {"G output", "affine BN, ReLU, 3x3, tanh"},
      {"G attention after", at(a.g_attention)},
      {"D channels", fmt::format("{}; the first {} blocks halve the image",
                                 fmt::join(a.d_channels, " "), a.d_downs)},
      {"D block",
       "pre-activation except in block 0; identity shortcut where the shape stays; no BN"},
      {"D head", "ReLU, global sum pool, linear"},
      {"D attention at", at(a.d_attention)},
      {"H and J",
       fmt::format(
           "{} residual blocks of 2 layers, width {}, ReLU before each layer; J reads [F(x), H(z)]",
           c.mlp_blocks, c.mlp_width)},
      {"spectral norm", fmt::format("G, F, H, J and score heads; not E; 1 iteration per sub-step, "
                                    "eps {:g}; embedding without",
                                    c.sn_eps)},
      {"encoder", fmt::format("{} ({}), stem {}, pre-activation ResNet-v2, stride on the 3x3, "
                              "projection from the pre-activation",
                              c.encoder, fmt::join(a.stage_channels, " "),
                              a.small_stem ? "3x3/1" : "7x7/2 + max-pool 3x3/2")},
      {"E batch norm", fmt::format("eps {:g}, momentum {:g}", c.e_bn_eps, c.bn_momentum)},
      {"E last ReLU before AvePool", on_off(c.encoder_last_relu)},
      {"E output", c.encoder_stochastic   ? "mean and softplus deviation, sampled"
                   : c.prior == "uniform" ? "z = tanh(linear)"
                                          : "z = linear"},
      {"losses", fmt::format("s_x {}, s_z {}, s_xz {}; D: a hinge for each, EG: linear",
                             on_off(c.loss_x), on_off(c.loss_z), on_off(c.loss_xz))},
      {"exact rewrites", on_off(c.rewrites)},
  };
}

std::string describe(const BigBiGAN& model) {
  std::string text = "Conformance sheet\n";
  for (const auto& [what, how] : conformance_sheet(model))
    text += fmt::format("  {:<27} {}\n", what, how);
  text += "\nLayers (memory shapes; convolutions are out, rows, columns, in)\n";
  for (const ParamStore* store : {&model.g_store, &model.d_store, &model.e_store}) {
    for (const auto& entry : store->entries()) {
      text += fmt::format("  {:<58} {:>22} {:>12}\n", entry.name, entry.shape, entry.shape.elems());
    }
  }
  text += "\nParameters\n";
  for (const auto& [part, count] : parameter_counts(model))
    text += fmt::format("  {:<18} {:>12}\n", part, count);
  return text;
}

}  // namespace bigbigan
