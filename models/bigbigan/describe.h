// What a configuration amounts to: the parameter table and the conformance sheet that `--describe`
// prints.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "models/bigbigan/bigbigan.h"

namespace bigbigan {

// Parameter counts by part, in the order of printing: generator, image_branch (theta_x included),
// latent_branch, joint_branch, score_heads (theta_z and theta_xz), discriminator, encoder_backbone,
// encoder_head, encoder, total. Spectral vectors and BN statistics are not counted.
std::vector<std::pair<std::string, int64_t>> parameter_counts(const BigBiGAN& model);

// The choices on which public BigGANs silently differ, as (what, how it is here).
std::vector<std::pair<std::string, std::string>> conformance_sheet(const BigBiGAN& model);

// Both, and every layer with its shape, as text.
std::string describe(const BigBiGAN& model);

}  // namespace bigbigan
