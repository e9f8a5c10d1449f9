// Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011), keyed by seed, stream, sample
// and element.
#pragma once

#include "kernels/common/exec.h"
#include "kernels/common/view.h"

namespace bigbigan {

// What the numbers are for: streams of one seed never meet.
enum class RandomStream : uint32_t {
  kLatent = 1,
  kEncoderNoise = 2,
  kInitial = 3,
  kAugment = 4,
  kSample = 5,
  kOrder = 6
};

// Four 32-bit words for block `block` of sample `sample` in `stream`. Counter: (block, sample low,
// sample high, stream); key: seed.
struct PhiloxWords {
  uint32_t word[4];
};
PhiloxWords philox(uint64_t seed, RandomStream stream, uint64_t sample, uint32_t block);

struct RandomArgs {
  uint64_t seed = 0;
  RandomStream stream = RandomStream::kLatent;
  ConstView first_sample;  // i64 (1): global index of row 0
};

// out (N, ...): element j of row i is number j % 4 of block j / 4 of sample first_sample + i. f32,
// f64, bf16. Uniform on [-1, 1): 2 w / 2^32 - 1 with the upper 24 bits of w.
void random_uniform(const CpuExec& ex, const RandomArgs& args, View out);
void random_uniform(const CudaExec& ex, const RandomArgs& args, View out);
// Standard normal by Box-Muller, in pairs: words (0, 1) give two numbers, words (2, 3) two more.
void random_normal(const CpuExec& ex, const RandomArgs& args, View out);
void random_normal(const CudaExec& ex, const RandomArgs& args, View out);

// z (N, Z) = mean + eps softplus(raw); stats (N, 2 Z) = [mean, raw]. Paper section 3.1.
void reparametrize_forward(const CpuExec& ex, ConstView stats, ConstView eps, View z);
void reparametrize_forward(const CudaExec& ex, ConstView stats, ConstView eps, View z);
// d_stats (+)= [d_z, d_z eps sigmoid(raw)]
void reparametrize_backward(const CpuExec& ex, ConstView stats, ConstView eps, ConstView d_z,
                            View d_stats, bool accumulate);
void reparametrize_backward(const CudaExec& ex, ConstView stats, ConstView eps, ConstView d_z,
                            View d_stats, bool accumulate);

}  // namespace bigbigan
