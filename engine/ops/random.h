// Counter-based random numbers (Philox4x32-10) and the reparametrised latent.
//
// Note [Random keys]: element j of sample p in stream s is a pure function of (seed, s, p, j), p
// being the global index of the sample in the whole run. There is no generator state: the same
// noise comes out on 1 or 8 ranks, on CPU or GPU, before or after a resume.
#pragma once

#include "engine/core/tape.h"
#include "kernels/random/philox.h"

namespace bigbigan {

struct RandomKey {
  uint64_t seed = 0;
  RandomStream stream = RandomStream::kLatent;
};

// (N, D) in ctx.dtype; `first_sample` i64 (1) holds the global index of row 0 (a tensor, so that a
// captured step reads it anew).
Tensor random_normal(const Context& ctx, const RandomKey& key, const Tensor& first_sample,
                     const Shape& shape);
// Uniform on [-1, 1).
Tensor random_uniform(const Context& ctx, const RandomKey& key, const Tensor& first_sample,
                      const Shape& shape);

// z (N, Z) = mean + eps * softplus(raw stdev); stats (N, 2Z) = [mean, raw stdev], eps (N, Z).
Var reparametrize(const Context& ctx, const Var& stats, const Tensor& eps);

}  // namespace bigbigan
