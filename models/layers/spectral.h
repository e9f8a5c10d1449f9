// The spectrally normalised weights of one network, normalised together once per optimiser
// sub-step.
//
// Note [One iteration per sub-step]: a network calls prepare() once per sub-step and passes the
// result to every forward pass of that sub-step, so that real and generated images see the same
// weights, u moves once, and the gradient through sigma is formed once, by the optimiser: Note
// [Gradients of normalised weights].
#pragma once

#include "engine/params/param_store.h"

namespace bigbigan {

// The weights as a forward pass reads them; indexed by Weight::spectral.
using PreparedWeights = std::vector<Var>;

// A weight of a linear or convolution layer, normalised or not.
struct Weight {
  Param param;
  int spectral = -1;  // index into the network's SpectralSet; -1: used as it is

  [[nodiscard]] explicit operator bool() const { return static_cast<bool>(param); }
  [[nodiscard]] Var operator()(const Context& ctx, const PreparedWeights& prepared) const {
    return spectral < 0 ? param(ctx) : prepared[spectral];
  }
};

// All of one store.
class SpectralSet {
 public:
  explicit SpectralSet(double eps) : eps_(eps) {}

  // Declares `<name>` (without ".weight") as normalised; adds the buffer `<name>.u`.
  Weight add(ParamStore& store, const std::string& name, Param weight);
  // Whether the weight is folded before it meets an activation: then prepare() does not round it.
  void keep_master(const Weight& weight, bool keeps) { keeps_master_.at(weight.spectral) = keeps; }
  // Of the weight, as prepare() makes it.
  [[nodiscard]] DType dtype_of(const Context& ctx, const Weight& weight) const {
    return keeps_master_.at(weight.spectral) ? master_dtype(ctx.dtype) : ctx.dtype;
  }
  [[nodiscard]] size_t size() const { return weights_.size(); }
  // weight / sigma for all; one power iteration when ctx.power_iteration.
  [[nodiscard]] PreparedWeights prepare(const Context& ctx) const;

 private:
  double eps_;
  std::vector<Param> weights_;
  std::vector<bool> keeps_master_;
  std::vector<Buffer> u_;
};

}  // namespace bigbigan
