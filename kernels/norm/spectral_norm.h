// Spectral normalisation of all weights of a network in one call.
//
// A weight (K, ...) is the matrix W (K, R). One power iteration with u (1, K) and
// n(x) = x / max(|x|, eps):
//   v = n(u W),  u' = n(v W^T),  sigma = v W^T u'^T,  y = W / sigma
// u' and v are constants of the gradient: Note [Gradients of normalised weights].
// Source: Miyato et al. 2018, as in BigGAN; eps and max() as in the model's documentation.
#pragma once

#include <span>

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

struct SpectralNormArgs {
  ConstView w;  // (K, ...)
  View u;       // (K): updated where `iterate`
  View v;       // (R): written
  View sigma;   // (1): written
  View y;       // w's shape: w / sigma, in w's dtype or in bf16
};

// f64 elements of scratch for spectral_norm. The CPU leaves it alone.
int64_t spectral_norm_scratch_elems(std::span<const SpectralNormArgs> weights);
// `iterate`: one power iteration, u updated. Otherwise u stays, v = n(u W), sigma = |u W|.
// f32, f64; sums in f64, on CUDA of parts summed in f32. At most four launches for 128 weights.
void spectral_norm(const CpuExec& ex, std::span<const SpectralNormArgs> weights, bool iterate,
                   double eps, View scratch);
void spectral_norm(const CudaExec& ex, std::span<const SpectralNormArgs> weights, bool iterate,
                   double eps, View scratch);

}  // namespace bigbigan
