#include "eval/compare.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/params/param_store.h"

namespace bigbigan {
namespace {

Labels labels_of(const ImageSource& images) {
  Labels labels;
  for (int64_t i = 0; i < images.size(); ++i) labels.push_back(images.label(i));
  return labels;
}

struct LabelledImages {
  std::unique_ptr<ImageSource> images;
  Labels labels;
};

LabelledImages labelled(const Session& session, const std::string& data, ImageSplit split) {
  LabelledImages result;
  result.images = encoder_images(session, data, split);
  result.labels = labels_of(*result.images);
  return result;
}

Matrix avepool_of(const Encoder& encoder, const Context& ctx, const ImageSource& images,
                  int64_t batch, const std::string& what) {
  return std::move(
      encode(encoder, ctx, images, 0, images.size(), {.batch = batch}, what).at(kAvePool));
}

// Pixels in [0, 1], those that are equal in all training images (padding) left out.
Matrix pixels_of(const Context& ctx, const ImageSource& images) {
  const int64_t columns = images.resolution() * images.resolution() * images.channels();
  Matrix pixels(images.size(), columns);
  for (int64_t i = 0; i < images.size(); ++i) {
    const auto image = images.batch(ctx, i, i + 1).to_vector<float>();
    std::transform(image.begin(), image.end(), pixels.row(i), [](float v) { return (v + 1) / 2; });
  }
  return pixels;
}

Matrix columns_at(const Matrix& x, std::span<const int64_t> columns) {
  Matrix out(x.rows, static_cast<int64_t>(columns.size()));
  for (int64_t i = 0; i < x.rows; ++i) {
    for (size_t j = 0; j < columns.size(); ++j) out.row(i)[j] = x.row(i)[columns[j]];
  }
  return out;
}

class Comparison {
 public:
  Comparison(const Session& session, const CompareOptions& options, const MeasureFeatures& body)
      : session_(session),
        options_(options),
        body_(body),
        train_(labelled(session, options.data,
                        options.split == "val" ? ImageSplit::kTrainNotVal : ImageSplit::kTrain)),
        test_(labelled(session, options.data,
                       options.split == "val" ? ImageSplit::kVal : ImageSplit::kTest)),
        classes_(class_count(train_.labels, test_.labels)) {}

  void encoder_rows(const std::string& name, const Encoder& encoder, const Context& ctx,
                    const std::string& protocol) {
    const int64_t batch = session_.options().batch;
    const Matrix train =
        avepool_of(encoder, ctx, *train_.images, batch, name + " encoder, training images");
    const Matrix test =
        avepool_of(encoder, ctx, *test_.images, batch, name + " encoder, test images");
    for (const std::string& feature : options_.features) {
      if (feature == kAvePool) {
        give(name, feature, protocol, train, test);
        continue;
      }
      const FeatureStats stats = feature_stats(session_.exec(), train);
      const double eps = session_.model().config.e_bn_eps;
      give(name, feature, protocol + ", BN+CReLU by the training images' statistics",
           bn_crelu(session_.exec(), train, stats, eps),
           bn_crelu(session_.exec(), test, stats, eps));
    }
  }

  void untrained_rows() {
    const auto model = untrained_model(session_, *train_.images);
    const Context ctx = inference_context(session_.context(), BnMode::kStored);
    encoder_rows(
        "untrained", *model->encoder, ctx,
        fmt::format("initial weights of train.seed {}, standing batch-norm statistics of {} "
                    "training images",
                    session_.settings().seed,
                    std::min(train_.images->size(), kStandingBatches * kStandingBatchImages)));
  }

  void pixel_row() {
    const Matrix train = pixels_of(session_.context(), *train_.images);
    const FeatureStats stats = feature_stats(session_.exec(), train);
    std::vector<int64_t> varying;
    for (int64_t j = 0; j < train.columns; ++j) {
      if (stats.variance[j] > 0) varying.push_back(j);
    }
    give("pixels", "raw_pixels", "pixels in [0, 1], constant ones left out",
         columns_at(train, varying),
         columns_at(pixels_of(session_.context(), *test_.images), varying));
  }

 private:
  void give(const std::string& encoder, const std::string& feature, const std::string& protocol,
            const Matrix& train, const Matrix& test) const {
    body_({encoder, feature, protocol, {train, train_.labels}, {test, test_.labels}}, classes_);
  }

  const Session& session_;
  const CompareOptions& options_;
  const MeasureFeatures& body_;
  LabelledImages train_, test_;
  int64_t classes_;
};

}  // namespace

int64_t class_count(const Labels& train, const Labels& test) {
  int64_t classes = 0;
  for (const Labels* labels : {&train, &test}) {
    for (const int64_t label : *labels) {
      if (label < 0)
        fail(ExitCode::kBadData,
             "an image has no label (or a negative one, {}): a probe needs labelled images", label);
      classes = std::max(classes, label + 1);
    }
  }
  constexpr int64_t kMostClasses = 1 << 20;
  if (classes < 2 || classes > kMostClasses) {
    fail(ExitCode::kBadData, "labels up to {}: expected at least two classes, numbered from 0",
         classes - 1);
  }
  return classes;
}

std::unique_ptr<BigBiGAN> untrained_model(const Session& session, const ImageSource& train) {
  ModelConfig config = session.model().config;
  config.bn_momentum = 0;  // the stored statistics are then those of the last batch
  auto model = std::make_unique<BigBiGAN>(config);
  model->allocate(session.context(), false);
  model->initialize(static_cast<uint64_t>(session.settings().seed));
  Context ctx = inference_context(session.context(), BnMode::kBatch);
  ctx.update_statistics = true;
  const Tensor& statistics = model->e_store.statistics;
  std::vector<double> sum(statistics.elems());
  const int64_t images = std::min(train.size(), kStandingBatches * kStandingBatchImages);
  int64_t batches = 0;
  for (int64_t first = 0; first < images; first += kStandingBatchImages, ++batches) {
    (*model->encoder)(ctx, train.batch(ctx, first, std::min(images, first + kStandingBatchImages)));
    const auto batch = statistics.to_vector<float>();
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += batch[i];
  }
  std::vector<float> mean(sum.size());
  std::transform(sum.begin(), sum.end(), mean.begin(),
                 [&](double v) { return static_cast<float>(v / static_cast<double>(batches)); });
  statistics.write(mean.data());
  return model;
}

void compare_features(const Session& session, const CompareOptions& options,
                      const MeasureFeatures& body) {
  Comparison comparison(session, options, body);
  comparison.encoder_rows("trained", session.encoder(), session.context(), session.description());
  if (!options.baselines) return;
  comparison.untrained_rows();
  comparison.pixel_row();
}

void compare_files(Vfs& vfs, const Vfs::Path& train, const Vfs::Path& test,
                   const MeasureFeatures& body) {
  FeatureSet set{"files", train.filename().string(),
                 "features read from " + train.string() + " and " + test.string(),
                 read_features(vfs, train), read_features(vfs, test)};
  if (set.train.x.columns != set.test.x.columns) {
    fail(ExitCode::kBadData,
         "{} has {} features per row, {} has {}: not of the same output and model", train.string(),
         set.train.x.columns, test.string(), set.test.x.columns);
  }
  const int64_t classes = class_count(set.train.labels, set.test.labels);
  body(std::move(set), classes);
}

}  // namespace bigbigan
