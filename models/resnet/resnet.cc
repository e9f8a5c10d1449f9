#include "models/resnet/resnet.h"

#include "engine/ops/elementwise.h"
#include "engine/ops/spatial.h"

namespace bigbigan {

ResNet::ResNet(const ModelConfig& config, const Architecture& arch, const Scope& scope)
    : bottleneck_(arch.bottleneck), small_stem_(arch.small_stem) {
  const BatchNormOptions bn{.eps = config.e_bn_eps, .momentum = config.bn_momentum, .relu = true};
  stem_ =
      Conv2d(scope / "stem", config.image_channels, arch.stem_channels, small_stem_ ? 3 : 7, false);
  int64_t in = arch.stem_channels;
  for (size_t s = 0; s < arch.stage_channels.size(); ++s) {
    const Scope stage = scope / ("stage_" + std::to_string(s));
    for (int64_t u = 0; u < arch.stage_units[s]; ++u) {
      const int64_t stride = s > 0 && u == 0 ? 2 : 1;
      units_.push_back(
          make_unit(stage / ("unit_" + std::to_string(u)), in, arch.stage_channels[s], stride, bn));
      in = arch.stage_channels[s];
    }
  }
  features_ = in;
  final_bn_ = BatchNorm(scope / "final_bn", in, bn);
  final_bn_.options.relu = config.encoder_last_relu;
}

ResNet::Unit ResNet::make_unit(const Scope& scope, int64_t in, int64_t out, int64_t stride,
                               const BatchNormOptions& bn) const {
  const int64_t inner = bottleneck_ ? out / 4 : out;
  Unit unit{.bn_1 = BatchNorm(scope / "bn_1", in, bn),
            .bn_2 = BatchNorm(scope / "bn_2", inner, bn),
            .conv_1 = Conv2d(scope / "conv_1", in, inner, bottleneck_ ? 1 : 3, false),
            .conv_2 = Conv2d(scope / "conv_2", inner, inner, 3, false),
            .stride = stride};
  if (bottleneck_) {
    unit.bn_3 = BatchNorm(scope / "bn_3", inner, bn);
    unit.conv_3 = Conv2d(scope / "conv_3", inner, out, 1, false);
  }
  if (in != out || stride != 1) unit.conv_sc = Conv2d(scope / "conv_sc", in, out, 1, false);
  return unit;
}

Var ResNet::unit(const Context& ctx, const Unit& u, const Var& x) const {
  const Var activated = u.bn_1(ctx, x);
  Var h = u.conv_1(ctx, {}, activated, bottleneck_ ? 1 : u.stride);
  // The projection reads the pre-activation; an identity shortcut reads the raw input. It stands
  // behind conv_1, whose gradient is the cheaper one to add to another.
  const Var shortcut = u.conv_sc ? u.conv_sc(ctx, {}, activated, u.stride) : x;
  h = u.conv_2(ctx, {}, u.bn_2(ctx, h), bottleneck_ ? u.stride : 1);
  return bottleneck_ ? u.conv_3.added_to(ctx, {}, shortcut, u.bn_3(ctx, h)) : add(ctx, h, shortcut);
}

Var ResNet::operator()(const Context& ctx, const Var& x) const {
  Var h = small_stem_ ? stem_(ctx, {}, x) : max_pool3x3s2(ctx, stem_(ctx, {}, x, 2));
  for (const Unit& u : units_) h = unit(ctx, u, h);
  return global_avg_pool(ctx, final_bn_(ctx, h));
}

}  // namespace bigbigan
