// Encoder outputs of images, under the names of the published BigBiGAN module.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "eval/features.h"
#include "eval/images.h"
#include "eval/session.h"

namespace bigbigan {

// "avepool_feat" (N, features): the average pool, before the head. "bn_crelu_feat" (N, 2 features).
// "z_mean", "z_stdev", "z_sample" (N, z_dim).
inline constexpr const char* kAvePool = "avepool_feat";
inline constexpr const char* kBnCRelu = "bn_crelu_feat";
std::vector<std::string> output_names();

using EncoderOutputs = std::map<std::string, Matrix>;

struct EncodeOptions {
  std::vector<std::string> outputs = {kAvePool};  // of output_names(), without bn_crelu_feat
  int64_t batch = 256;
  // Of the noise in z_sample, which belongs to the image's index, not to its batch.
  uint64_t seed = 0;
};

// Outputs of images [begin, end) of `images`. With stored statistics (ctx) rows do not depend on
// the batch size or the number of threads. `what` names the work on the progress line.
EncoderOutputs encode(const Encoder& encoder, const Context& ctx, const ImageSource& images,
                      int64_t begin, int64_t end, const EncodeOptions& options,
                      const std::string& what);

struct ExtractOptions {
  std::vector<std::string> outputs;
  std::string data, feature_stats;
  std::string split = "train";
  Vfs::Path folder;
  // One array per output, named after it, instead of features.npy and its index.
  bool arrays_only = false;
  int64_t shard = 0, shards = 1;
  int64_t seed = 0;
};

// Writes the outputs of a data set to a folder (Note [Feature files]); returns the number of
// images. Throws Error{kUsage} for BN+CReLU of a shard without `feature_stats`: its statistics are
// those of all images.
int64_t extract(const Session& session, const ExtractOptions& options);

// The split that a name means to extraction: train, test, val.
ImageSplit split_of(const std::string& name);
// Images as this session's encoder wants them.
std::unique_ptr<ImageSource> encoder_images(const Session& session, const std::string& data,
                                            ImageSplit split);

}  // namespace bigbigan
