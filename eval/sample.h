// Pictures and arrays of a model: samples, interpolations, reconstructions; and scores of pairs.
#pragma once

#include <string>

#include "eval/session.h"

namespace bigbigan {

// Where images go; either may be empty.
struct ImageOutput {
  std::string png;  // a grid
  std::string npy;  // (N, R, R, C) f32 in [-1, 1]
  int64_t columns = 8;
};

struct SampleOptions {
  std::string z;  // .npy of latents (N, z_dim); empty: `count` from the prior
  int64_t count = 64;
  int64_t seed = 0;
  ImageOutput out;
};
// G(z); returns the number of images. Sample i of a seed is the same whatever `count` is.
int64_t sample(const Session& session, const SampleOptions& options);

struct InterpolateOptions {
  int64_t rows = 8, steps = 8;  // a row goes from one latent to another in `steps` images
  int64_t seed = 0;
  ImageOutput out;
};
int64_t interpolate(const Session& session, const InterpolateOptions& options);

struct ReconstructOptions {
  std::string data, split = "test";
  int64_t count = 32;  // 0: all
  ImageOutput out;     // png: x and G(E(x)) side by side; npy: G(E(x)), E(x) being the mean
};
int64_t reconstruct(const Session& session, const ReconstructOptions& options);

struct DiscriminateOptions {
  std::string x, split = "test";  // images, as for extraction, or an array at D's resolution
  std::string z;                  // .npy of latents (N, z_dim); empty: the mean of E(x)
  std::string folder;             // for score_x.npy, score_z.npy, score_xz.npy, each (N) f32
};
// Scores of the pairs (x, z); a score that the model was trained without has no file. Returns the
// pairs.
int64_t discriminate(const Session& session, const DiscriminateOptions& options);

}  // namespace bigbigan
