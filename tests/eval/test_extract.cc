#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/data/dataset.h"
#include "engine/io/npy.h"
#include "eval/compare.h"
#include "tests/eval/fixture.h"

namespace bigbigan {
namespace {

ExtractOptions to(const Vfs::Path& folder, std::vector<std::string> outputs = {kAvePool}) {
  return {.outputs = std::move(outputs),
          .data = "",
          .feature_stats = "",
          .split = "train",
          .folder = folder};
}

std::vector<std::byte> data_of(Vfs& vfs, const Vfs::Path& path) { return read_npy(vfs, path).data; }

// Images of the tiny data set as an array of `dtype`: u8 pixels, or f32 or f64 in [-1, 1].
void write_images(TinyRun& tiny, const Vfs::Path& path, DType dtype) {
  HostAllocator allocator;
  const Context ctx{.exec = CpuExec{}, .allocator = &allocator};
  const auto images = open_images(
      tiny.vfs,
      {.path = tiny.data().string(), .split = ImageSplit::kTrain, .resolution = 32, .channels = 1});
  const Tensor x = images->batch(ctx, 0, images->size());
  const int64_t shape[] = {images->size(), 32, 32, 1};
  std::vector<std::byte> bytes(x.elems() * size_of(dtype));
  for (int64_t i = 0; i < x.elems(); ++i) {
    const float value = x.as<float>()[i];
    if (dtype == DType::kU8) bytes[i] = static_cast<std::byte>(std::lround((value + 1) * 127.5f));
    if (dtype == DType::kF32) std::memcpy(&bytes[i * 4], &value, 4);
    const double wide = value;
    if (dtype == DType::kF64) std::memcpy(&bytes[i * 8], &wide, 8);
  }
  write_npy(tiny.vfs, path, dtype, shape, bytes);
}

}  // namespace

TEST_CASE("features do not depend on batch size or threads", "[eval][extract]") {
  TinyRun tiny;
  extract(tiny.session({.batch = 60, .threads = 1}), to(tiny.path("a")));
  extract(tiny.session({.batch = 7, .threads = 3}), to(tiny.path("b")));
  REQUIRE(data_of(tiny.vfs, tiny.path("a/features.npy")) ==
          data_of(tiny.vfs, tiny.path("b/features.npy")));
  extract(tiny.session({.bn = "batch", .batch = 60}), to(tiny.path("c")));
  REQUIRE(data_of(tiny.vfs, tiny.path("a/features.npy")) !=
          data_of(tiny.vfs, tiny.path("c/features.npy")));
}

TEST_CASE("shards put together are the whole", "[eval][extract]") {
  TinyRun tiny;
  const Session session = tiny.session();
  extract(session, to(tiny.path("whole")));
  for (int64_t i = 0; i < 7; ++i) {
    ExtractOptions options = to(tiny.path("parts"));
    options.shard = i;
    options.shards = 7;
    extract(session, options);
  }
  const LabelledFeatures whole = read_features(tiny.vfs, tiny.path("whole")),
                         parts = read_features(tiny.vfs, tiny.path("parts"));
  REQUIRE(parts.x.values == whole.x.values);
  REQUIRE(parts.labels == whole.labels);
  const FeatureStats a = read_stats(CpuExec{}, tiny.vfs, tiny.path("whole"), kTinyFeatures);
  const FeatureStats b = read_stats(CpuExec{}, tiny.vfs, tiny.path("parts"), kTinyFeatures);
  REQUIRE(a.mean == b.mean);
  REQUIRE(a.variance == b.variance);
  ExtractOptions options = to(tiny.path("parts"), {kBnCRelu});
  options.shards = 7;
  require_error([&] { extract(session, options); }, ExitCode::kUsage, {"--feature-stats"});
}

TEST_CASE("labels and index follow the data set", "[eval][extract]") {
  TinyRun tiny;
  ExtractOptions options = to(tiny.path("out"));
  options.split = "val";
  REQUIRE(extract(tiny.session(), options) == 12);
  const LabelledFeatures features = read_features(tiny.vfs, tiny.path("out"));
  const std::vector<int64_t> held = hold_out(kTrainImages, 12, 0).val;
  const std::string index = read_raw(tiny.path("out/index.tsv"));
  REQUIRE(std::count(index.begin(), index.end(), '\n') == 13);
  for (size_t i = 0; i < held.size(); ++i) {
    REQUIRE(features.labels[i] == held[i] * 7 % kClasses);
    const std::string line = std::to_string(i) + "\t" + tiny.data().string() +
                             "/train:" + std::to_string(held[i]) + "\t" +
                             std::to_string(features.labels[i]) + "\t32\t32\n";
    REQUIRE_THAT(index, Catch::Contains(line));
  }
}

TEST_CASE("arrays of images are used as they are", "[eval][extract]") {
  TinyRun tiny;
  const Session session = tiny.session();
  extract(session, to(tiny.path("idx")));
  const DType dtype = GENERATE(DType::kU8, DType::kF32, DType::kF64);
  const Vfs::Path file = tiny.path("x.npy");
  write_images(tiny, file, dtype);
  ExtractOptions options = to(tiny.path("array"));
  options.data = file.string();
  extract(session, options);
  REQUIRE(data_of(tiny.vfs, tiny.path("array/features.npy")) ==
          data_of(tiny.vfs, tiny.path("idx/features.npy")));
  REQUIRE(read_features(tiny.vfs, tiny.path("array")).labels == Labels(kTrainImages, -1));
}

TEST_CASE("arrays outside [-1, 1], of other sizes or types are refused", "[eval][extract]") {
  TinyRun tiny;
  const Vfs::Path file = tiny.path("x.npy");
  const auto open = [&] {
    open_images(tiny.vfs, {.path = file.string(), .resolution = 32, .channels = 1});
  };
  std::vector<float> values(2 * 32 * 32, 0.5f);
  const int64_t shape[] = {2, 32, 32, 1}, channels[] = {1, 32, 32, 2};
  const auto write = [&](std::span<const int64_t> dims) {
    std::filesystem::remove(file);
    write_npy(tiny.vfs, file, DType::kF32, dims, std::as_bytes(std::span(values)));
  };
  write(shape);
  REQUIRE_NOTHROW(open());
  for (const float bad : {1.001f, -1.5f, std::nanf(""), 200.0f}) {
    values[32 * 32 + 5] = bad;
    write(shape);
    require_error(open, ExitCode::kBadData, {"x.npy", "image 1", "[-1, 1]"});
  }
  write(channels);
  require_error(open, ExitCode::kBadData, {"(1, 32, 32, 2)", "(N, 32, 32, 1)"});
}

TEST_CASE("BN+CReLU is the rectified normalised feature and its negative", "[eval][extract]") {
  TinyRun tiny;
  const Session session = tiny.session();
  extract(session, to(tiny.path("train")));
  ExtractOptions options = to(tiny.path("test"), {kAvePool, kBnCRelu});
  options.split = "test";
  options.arrays_only = true;
  options.feature_stats = tiny.path("train").string();
  extract(session, options);
  const Matrix train = read_matrix(tiny.vfs, tiny.path("train/features.npy"));
  const Matrix a = read_matrix(tiny.vfs, tiny.path("test/avepool_feat.npy"));
  const Matrix h = read_matrix(tiny.vfs, tiny.path("test/bn_crelu_feat.npy"));
  REQUIRE(h.columns == 2 * kTinyFeatures);
  REQUIRE(h.rows == kTestImages);
  constexpr double kEps = 1e-3;  // model.e_bn_eps
  for (int64_t j = 0; j < kTinyFeatures; ++j) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < train.rows; ++i) mean += train.row(i)[j] / double(train.rows);
    for (int64_t i = 0; i < train.rows; ++i)
      variance += std::pow(train.row(i)[j] - mean, 2) / double(train.rows);
    for (int64_t i = 0; i < a.rows; ++i) {
      const double normalised = (a.row(i)[j] - mean) / std::sqrt(variance + kEps);
      REQUIRE(h.row(i)[j] == Approx(std::max(normalised, 0.0)).margin(1e-5));
      REQUIRE(h.row(i)[kTinyFeatures + j] == Approx(std::max(-normalised, 0.0)).margin(1e-5));
    }
  }
}

TEST_CASE("z_sample is mean and deviation with noise of the image's index", "[eval][extract]") {
  TinyRun tiny;
  const auto sample = [&](const std::string& name, int64_t batch, int64_t seed) {
    ExtractOptions options = to(tiny.path(name), {"z_mean", "z_stdev", "z_sample"});
    options.arrays_only = true;
    options.seed = seed;
    extract(tiny.session({.batch = batch}), options);
    return read_matrix(tiny.vfs, tiny.path(name) / "z_sample.npy");
  };
  const Matrix a = sample("a", 60, 5), b = sample("b", 9, 5), c = sample("c", 60, 6);
  ExtractOptions last_third = to(tiny.path("shard"), {"z_sample"});
  last_third.seed = 5;
  last_third.shard = 2;
  last_third.shards = 3;
  extract(tiny.session(), last_third);
  const Matrix shard = read_matrix(tiny.vfs, tiny.path("shard/features_2.npy"));
  REQUIRE(shard.values == std::vector<float>(a.row(40), a.row(60)));
  REQUIRE(a.columns == kTinyLatent);
  REQUIRE(a.values == b.values);
  REQUIRE(a.values != c.values);
  const Matrix mean = read_matrix(tiny.vfs, tiny.path("a/z_mean.npy")),
               stdev = read_matrix(tiny.vfs, tiny.path("a/z_stdev.npy"));
  double sum = 0, squares = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    REQUIRE(stdev.values[i] > 0);
    const double noise = (a.values[i] - mean.values[i]) / stdev.values[i];
    sum += noise;
    squares += noise * noise;
  }
  const auto n = static_cast<double>(
      a.values.size());  // 480: the mean's deviation is 0.046, the variance's 0.065
  REQUIRE(std::abs(sum / n) < 0.2);
  REQUIRE(squares / n == Approx(1).margin(0.3));
}

TEST_CASE("averaged and live weights give different features", "[eval][extract]") {
  TinyRun tiny;
  extract(tiny.session({.weights = "ema"}), to(tiny.path("ema")));
  extract(tiny.session({.weights = "live"}), to(tiny.path("live")));
  REQUIRE(data_of(tiny.vfs, tiny.path("ema/features.npy")) !=
          data_of(tiny.vfs, tiny.path("live/features.npy")));
}

TEST_CASE("the untrained encoder has the seed's weights and the averages of batch statistics",
          "[eval][compare]") {
  TinyRun tiny;
  const Session session = tiny.session({.weights = "live"});
  const auto images = encoder_images(session, "", ImageSplit::kTrain);
  const auto untrained = untrained_model(session, *images);
  // The fixture's live weights are those of seed 3.
  const Tensor mine = untrained->e_store.value, live = session.model().e_store.value;
  REQUIRE(std::equal(mine.as<float>(), mine.as<float>() + mine.elems(), live.as<float>()));
  // The 60 images are one batch: its statistics are the standing ones, and so are the features.
  const Context batch = inference_context(session.context(), BnMode::kBatch),
                stored = inference_context(session.context(), BnMode::kStored);
  const Tensor x = images->batch(batch, 0, images->size());
  const Tensor a = (*untrained->encoder)(batch, x).avepool.value,
               b = (*untrained->encoder)(stored, x).avepool.value;
  for (int64_t i = 0; i < a.elems(); ++i)
    REQUIRE(a.as<float>()[i] == Approx(b.as<float>()[i]).margin(1e-4));
}

TEST_CASE("comparisons use the split's images and need labels", "[eval][compare]") {
  TinyRun tiny;
  const Session session = tiny.session();
  std::vector<std::string> rows;
  CompareOptions options{.split = "val", .baselines = true};
  compare_features(session, options, [&](const FeatureSet& set, int64_t classes) {
    rows.push_back(set.encoder + " " + set.feature + " " + std::to_string(set.train.x.columns));
    REQUIRE(classes == kClasses);
    REQUIRE(set.train.x.rows == kTrainImages - 12);
    REQUIRE(set.test.x.rows == 12);
    REQUIRE(set.test.labels.size() == 12);
  });
  REQUIRE(rows == std::vector<std::string>{"trained avepool_feat 12", "trained bn_crelu_feat 24",
                                           "untrained avepool_feat 12",
                                           "untrained bn_crelu_feat 24", "pixels raw_pixels 64"});
  REQUIRE(class_count({0, 1}, {4}) == 5);
  require_error([] { class_count({0, -1}, {0}); }, ExitCode::kBadData, {"no label"});
  require_error([] { class_count({0, 0}, {0}); }, ExitCode::kBadData, {"two classes"});
}

}  // namespace bigbigan
