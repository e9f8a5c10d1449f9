#include "models/layers/spectral.h"

#include "engine/ops/norm.h"

namespace bigbigan {

Weight SpectralSet::add(ParamStore& store, const std::string& name, Param weight) {
  u_.push_back(store.add_buffer(name + ".u", {weight.shape()[0]}, BufferKind::kDirection, 0));
  weights_.push_back(weight);
  keeps_master_.push_back(false);
  return {weight, store.normalize(weight, u_.back())};
}

PreparedWeights SpectralSet::prepare(const Context& ctx) const {
  const Context without_tape = ctx.with_tape(nullptr);
  std::vector<SpectralWeight> weights;
  for (int i = 0; i < static_cast<int>(weights_.size()); ++i) {
    const Param& weight = weights_[i];
    const auto [v, sigma] = weight.store->spectral_results(ctx, i);
    weights.push_back({.w = weight.master(without_tape).value,
                       .u = u_[i](),
                       .v = v,
                       .sigma = sigma,
                       .dtype = dtype_of(ctx, {weight, i})});
  }
  if (weights.empty()) return {};
  const std::vector<Tensor> normalized = spectral_norm(without_tape, weights, eps_);
  PreparedWeights prepared;
  for (size_t i = 0; i < normalized.size(); ++i) {
    prepared.push_back(weights_[i].store->leaf(ctx, weights_[i].index, normalized[i]));
  }
  return prepared;
}

}  // namespace bigbigan
