// Theta, phi and g of BigGAN's non-local block as one convolution: its weights joined from theirs,
// and its output split into what attention reads. f32, bf16, and f64 on the CPU.
//
// theta and phi have D channels, g has V. Of each pixel of the joint projections the first D
// channels are theta's, the next D are phi's: as V = 4 D, each begins at a multiple of D in any
// order, and is read in packs, or halves of packs, wherever D is made of them.
#pragma once

#include <array>

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// joint (sum of K, ...) = the rows of three weights (K, ...), one behind the other.
void join_weights(const CpuExec& ex, const std::array<ConstView, 3>& weights, View joint);
void join_weights(const CudaExec& ex, const std::array<ConstView, 3>& weights, View joint);

// d_weights (+)= their rows of d_joint; f32, f64. One without data is left out, its shape counts.
struct JoinWeightsBackwardArgs {
  ConstView d_joint;
  std::array<View, 3> d_weights;
  std::array<bool, 3> accumulate{};
};
void join_weights_backward(const CpuExec& ex, const JoinWeightsBackwardArgs& args);
void join_weights_backward(const CudaExec& ex, const JoinWeightsBackwardArgs& args);

// joint (N, H, W, 2 D + V). query (N, H W, D) is theta; key (N, P Q, D) and value (N, P Q, V) the
// largest of each 2x2 window of phi and g, P and Q being H / 2 and W / 2 rounded down. argmax, u8
// (N, P, Q, D + V): the number of the winner, row-major; the first among equals, a NaN before all.
//
// theta is copied, so that the joint projections, twice the size of all that attention reads, need
// not live until backward.
void split_projections(const CpuExec& ex, ConstView joint, View query, View key, View value,
                       View argmax);
void split_projections(const CudaExec& ex, ConstView joint, View query, View key, View value,
                       View argmax);

// d_joint (+)= d_query, and d_key and d_value at the winners; writes each element once.
struct SplitProjectionsBackwardArgs {
  ConstView argmax, d_query, d_key, d_value;
  View d_joint;
  bool accumulate = false;
};
void split_projections_backward(const CpuExec& ex, const SplitProjectionsBackwardArgs& args);
void split_projections_backward(const CudaExec& ex, const SplitProjectionsBackwardArgs& args);

}  // namespace bigbigan
