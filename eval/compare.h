// What probe and knn measure: features of training and test images by the trained encoder and, for
// comparison, by the untrained one and as raw pixels.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/io/flat_json.h"
#include "eval/extract.h"

namespace bigbigan {

// One row of the comparison.
struct FeatureSet {
  std::string encoder;   // trained, untrained, pixels, files
  std::string feature;   // avepool_feat, bn_crelu_feat, raw_pixels, the folder's name
  std::string protocol;  // how the features were made
  LabelledFeatures train, test;
};

struct CompareOptions {
  std::string data;  // empty: the run's
  // test; or val: train on the images not held out, test on the held-out ones.
  std::string split = "test";
  std::vector<std::string> features = {kAvePool, kBnCRelu};
  bool baselines = false;
};

// Calls body for each feature set in turn, the trained encoder's first. Labels are checked: each in
// [0, classes). Throws Error{kBadData} where images have no labels.
using MeasureFeatures = std::function<void(FeatureSet, int64_t classes)>;
void compare_features(const Session& session, const CompareOptions& options,
                      const MeasureFeatures& body);
// The same for two folders of extracted features (Note [Feature files]).
void compare_files(Vfs& vfs, const Vfs::Path& train, const Vfs::Path& test,
                   const MeasureFeatures& body);

// E as it was before training: the weights of the seed, with standing statistics, since its stored
// ones still hold their initial values: the averages of batch means and variances over training
// images.
std::unique_ptr<BigBiGAN> untrained_model(const Session& session, const ImageSource& train);
inline constexpr int64_t kStandingBatches = 100, kStandingBatchImages = 64;

// Number of classes of labels that all are at least 0; throws Error{kBadData} otherwise.
int64_t class_count(const Labels& train, const Labels& test);

}  // namespace bigbigan
