#include "eval/extract.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/io/npy.h"
#include "engine/ops/random.h"
#include "eval/progress.h"

namespace bigbigan {
namespace {

// Rows of `part` (n, columns) into `whole` at row `first`.
void store_rows(const Tensor& part, Matrix& whole, int64_t first) {
  check(part.shape()[1] == whole.columns, "extract: {} columns into {}", part.shape()[1],
        whole.columns);
  check(part.dtype() == DType::kF32, "extract: outputs are {}", name_of(part.dtype()));
  part.read(whole.row(first));
  const auto begin = whole.values.begin() + first * whole.columns, end = begin + part.elems();
  const auto bad = std::find_if_not(begin, end, [](float v) { return std::isfinite(v); });
  if (bad == end) return;
  fail(ExitCode::kNumerical,
       "the encoder's output for image {} is {}: this checkpoint is not usable",
       first + (bad - begin) / whole.columns, *bad);
}

std::string field(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20; }, '?');
  return text;
}

std::string index_text(const ImageSource& images, int64_t begin, int64_t end) {
  std::string text = "row\tpath\tlabel\twidth\theight\n";
  for (int64_t i = begin; i < end; ++i) {
    text += fmt::format("{}\t{}\t{}\t{}\t{}\n", i, field(images.path(i)), images.label(i),
                        images.resolution(), images.resolution());
  }
  return text;
}

void write_labels(Vfs& vfs, const Vfs::Path& path, const ImageSource& images, int64_t begin,
                  int64_t end) {
  Labels labels;
  for (int64_t i = begin; i < end; ++i) labels.push_back(images.label(i));
  const int64_t shape[] = {end - begin};
  write_npy(vfs, path, DType::kI64, shape, std::as_bytes(std::span(labels)));
}

// What the network has to give for the outputs asked for, AvePool always among it.
std::vector<std::string> network_outputs(const std::vector<std::string>& outputs) {
  std::vector<std::string> names = {kAvePool};
  for (const std::string& name : outputs) {
    if (name != kBnCRelu && name != kAvePool) names.push_back(name);
  }
  return names;
}

}  // namespace

std::vector<std::string> output_names() {
  return {kAvePool, kBnCRelu, "z_mean", "z_stdev", "z_sample"};
}

EncoderOutputs encode(const Encoder& encoder, const Context& ctx, const ImageSource& images,
                      int64_t begin, int64_t end, const EncodeOptions& options,
                      const std::string& what) {
  EncoderOutputs outputs;
  Progress progress(what);
  for (int64_t first = begin; first < end; first += options.batch) {
    progress.update(first - begin, end - begin);
    const int64_t last = std::min(end, first + options.batch);
    const EncoderOutput output = encoder(ctx, images.batch(ctx, first, last));
    const auto [mean, stdev] = encoder.mean_and_stdev(ctx, output);
    for (const std::string& name : options.outputs) {
      Tensor part = name == kAvePool ? output.avepool.value : name == "z_mean" ? mean : stdev;
      if (name == "z_sample") {
        const Tensor index = Tensor::from_host(ctx, {1}, DType::kI64, &first);
        const Tensor eps =
            random_normal(ctx, {options.seed, RandomStream::kEncoderNoise}, index, mean.shape());
        part = encoder.sample(ctx, output, eps).value;
      }
      Matrix& whole = outputs.try_emplace(name, end - begin, part.shape()[1]).first->second;
      store_rows(part, whole, first - begin);
    }
  }
  return outputs;
}

ImageSplit split_of(const std::string& name) {
  return name == "train" ? ImageSplit::kTrain
         : name == "val" ? ImageSplit::kVal
                         : ImageSplit::kTest;
}

std::unique_ptr<ImageSource> encoder_images(const Session& session, const std::string& data,
                                            ImageSplit split) {
  return open_images(session.vfs(), {.path = data.empty() ? session.settings().data_path : data,
                                     .split = split,
                                     .resolution = session.model().arch.encoder_resolution,
                                     .channels = session.model().config.image_channels,
                                     .val_images = session.settings().val_images});
}

int64_t extract(const Session& session, const ExtractOptions& options) {
  const bool wants_bn_crelu =
      std::find(options.outputs.begin(), options.outputs.end(), kBnCRelu) != options.outputs.end();
  if (wants_bn_crelu && options.shards > 1 && options.feature_stats.empty()) {
    fail(ExitCode::kUsage,
         "--output bn_crelu_feat of a shard needs --feature-stats DIR: its statistics are those of "
         "all images. Extract avepool_feat first, all shards, and give that folder");
  }
  const Encoder& encoder = session.encoder();
  const auto images = encoder_images(session, options.data, split_of(options.split));
  const int64_t begin = images->size() * options.shard / options.shards;
  const int64_t end = images->size() * (options.shard + 1) / options.shards;
  if (begin == end)
    fail(ExitCode::kUsage, "--shard {}/{}: no image of {} is in it", options.shard, options.shards,
         images->size());
  Vfs& vfs = session.vfs();
  make_directories(vfs, options.folder);

  EncoderOutputs outputs = encode(encoder, session.context(), *images, begin, end,
                                  {.outputs = network_outputs(options.outputs),
                                   .batch = session.options().batch,
                                   .seed = static_cast<uint64_t>(options.seed)},
                                  "extract");
  const Matrix& avepool = outputs.at(kAvePool);
  const FeatureStats own = feature_stats(session.exec(), avepool);
  if (wants_bn_crelu) {
    const FeatureStats stats =
        options.feature_stats.empty()
            ? own
            : read_stats(session.exec(), vfs, options.feature_stats, avepool.columns);
    outputs[kBnCRelu] = bn_crelu(session.exec(), avepool, stats, session.model().config.e_bn_eps);
  }
  const std::string suffix = options.shards > 1 ? fmt::format("_{}", options.shard) : "";
  for (const std::string& name : options.outputs) {
    write_matrix(vfs,
                 options.folder / ((options.arrays_only ? name : "features") + suffix + ".npy"),
                 outputs.at(name));
  }
  if (options.shards == 1) write_stats(vfs, options.folder / "feature_stats.npy", own);
  if (options.arrays_only) return end - begin;
  write_labels(vfs, options.folder / ("labels" + suffix + ".npy"), *images, begin, end);
  write_file_atomic(vfs, options.folder / ("index" + suffix + ".tsv"),
                    index_text(*images, begin, end));
  return end - begin;
}

}  // namespace bigbigan
