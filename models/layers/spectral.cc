#include "models/layers/spectral.h"

#include "engine/ops/norm.h"

namespace bigbigan {

Weight SpectralSet::add(ParamStore& store, const std::string& name, Param weight) {
  u_.push_back(store.add_buffer(name + ".u", {weight.shape()[0]}, BufferKind::kDirection, 0));
  weights_.push_back(weight);
  keeps_master_.push_back(false);
  return {weight, static_cast<int>(weights_.size()) - 1};
}

PreparedWeights SpectralSet::prepare(const Context& ctx) const {
  if (weights_.empty()) return {};
  std::vector<Var> weights;
  std::vector<Tensor> directions;
  std::vector<DType> dtypes;
  for (size_t i = 0; i < weights_.size(); ++i) {
    weights.push_back(weights_[i].master(ctx));
    directions.push_back(u_[i](ctx));
    dtypes.push_back(dtype_of(ctx, {weights_[i], static_cast<int>(i)}));
  }
  // One rank alone has nothing to send meanwhile.
  const int64_t group_bytes = ctx.comm == nullptr ? kOneSpectralGroup : kSpectralGroupBytes;
  return spectral_norm(ctx, weights, directions, eps_, dtypes, group_bytes);
}

}  // namespace bigbigan
