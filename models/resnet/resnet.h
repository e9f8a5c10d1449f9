// ResNet-v2 (He et al. 2016, pre-activation) as in Kolesnikov et al. 2019, and a small form with
// basic units. Convolutions without bias; batch norm with affine; the stride sits on a unit's 3x3
// convolution.
#pragma once

#include "models/bigbigan/config.h"
#include "models/layers/layers.h"

namespace bigbigan {

class ResNet {
 public:
  ResNet() = default;
  ResNet(const ModelConfig& config, const Architecture& architecture, const Scope& scope);
  // Images (N, R, R, C) -> AvePool features (N, features()).
  Var operator()(const Context& ctx, const Var& x) const;
  [[nodiscard]] int64_t features() const { return features_; }

 private:
  struct Unit {
    BatchNorm bn_1, bn_2, bn_3;
    Conv2d conv_1, conv_2, conv_3, conv_sc;
    int64_t stride = 1;
  };
  Unit make_unit(const Scope& scope, int64_t in, int64_t out, int64_t stride,
                 const BatchNormOptions& bn) const;
  Var unit(const Context& ctx, const Unit& unit, const Var& x) const;

  bool bottleneck_ = true, small_stem_ = false;
  int64_t features_ = 0;
  Conv2d stem_;
  std::vector<Unit> units_;
  BatchNorm final_bn_;
};

}  // namespace bigbigan
