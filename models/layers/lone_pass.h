// A block of a network by itself, forward and backward, for measuring.
#pragma once

#include <functional>

#include "models/layers/spectral.h"

namespace bigbigan {

// A block that has an exact rewrite (Note [Exact rewrites]) and can be computed with it or without.
struct RewritableBlock {
  std::string name;  // "generator.block_0"
  std::function<void(bool rewritten)> choose;
  // What pass() computes on `n` images: outputs and all gradients, in the form chosen now. `ctx`
  // has no tape. Operands are allocated and drawn at once, all else by each pass.
  std::function<std::function<void()>(const Context& ctx, int64_t n)> pass;
};

struct LonePass {
  const SpectralSet& spectral;
  std::vector<Weight> weights;  // of the block, all in `spectral`
  std::vector<Shape> inputs;
  Shape output;
  std::function<Var(const Context& ctx, const PreparedWeights& prepared,
                    std::span<const Var> inputs)>
      forward;
};

// forward(), and back from a random gradient of the output, to the inputs and the weights, which
// are random too. Batch norm takes the statistics of the batch and leaves the stored ones.
std::function<void()> lone_pass(const Context& ctx, const LonePass& block);

}  // namespace bigbigan
