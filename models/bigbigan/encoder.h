// The encoder E: ResNet-v2, global average pool (the representation "AvePool"), residual MLP,
// latent. Paper section 3.1.
#pragma once

#include "models/resnet/resnet.h"

namespace bigbigan {

struct EncoderOutput {
  Var avepool;  // (N, features)
  // Stochastic: (N, 2 z_dim) = [mean, raw deviation]. Deterministic: (N, z_dim), z itself.
  Var stats;
};

class Encoder {
 public:
  // Declares its parameters in `store` under "encoder".
  Encoder(const ModelConfig& config, const Architecture& architecture, ParamStore& store);

  // Images (N, R, R, C) at the encoder's resolution.
  EncoderOutput operator()(const Context& ctx, const Var& x) const;
  // The latent of the statistics: mean + eps softplus(raw) with eps (N, z_dim), or z where
  // deterministic.
  Var sample(const Context& ctx, const EncoderOutput& output, const Tensor& eps) const;
  // z_mean and z_stdev (N, z_dim); a deterministic encoder has deviation 0.
  std::pair<Tensor, Tensor> mean_and_stdev(const Context& ctx, const EncoderOutput& output) const;
  [[nodiscard]] int64_t features() const { return backbone_.features(); }

 private:
  int64_t z_dim_;
  bool stochastic_, tanh_output_;
  ResNet backbone_;
  ResidualMlp head_;
  Linear output_;
};

}  // namespace bigbigan
