#include "eval/sample.h"

#include <algorithm>
#include <map>
#include <optional>

#include "engine/io/npy.h"
#include "engine/ops/random.h"
#include "eval/extract.h"
#include "eval/progress.h"

namespace bigbigan {
namespace {

Tensor to_tensor(const Context& ctx, const Matrix& x, int64_t begin, int64_t end) {
  return Tensor::from_host(ctx, {end - begin, x.columns}, DType::kF32, x.row(begin),
                           MemoryTag::kData);
}

Matrix prior_matrix(const Session& session, int64_t seed, int64_t count) {
  const Context ctx = session.context();
  const Tensor first = Tensor::zeros(ctx, {1}, DType::kI64);
  const Tensor z =
      prior_latents(ctx, session.model().config,
                    {static_cast<uint64_t>(seed), RandomStream::kSample}, first, count);
  Matrix out(count, z.shape()[1]);
  z.read(out.values.data());
  return out;
}

Matrix read_latents(const Session& session, const std::string& path) {
  Matrix z = read_matrix(session.vfs(), path);
  const int64_t expected = session.model().config.z_dim;
  if (z.columns != expected) {
    fail(ExitCode::kBadData, "{}: latents of {} numbers, the model's z_dim is {}", path, z.columns,
         expected);
  }
  return z;
}

// Where one part of the images goes after the other.
class ImageSink {
 public:
  ImageSink(const Session& session, const ImageOutput& out, int64_t count)
      : session_(session), out_(out), count_(count) {
    if (out.png.empty() && out.npy.empty())
      fail(ExitCode::kUsage, "give --out FILE.png, --npy FILE.npy, or both");
    constexpr int64_t kMostPictures = 4096;
    if (!out.png.empty() && count > kMostPictures) {
      fail(ExitCode::kUsage,
           "--out: a grid of {} images, expected at most {}; use --count, or --npy", count,
           kMostPictures);
    }
    for (const std::string& file : {out.png, out.npy}) {
      make_directories(session.vfs(), Vfs::Path(file).parent_path());
    }
  }
  // `images` (n, R, R, C) for the array; `shown` for the grid.
  void add(const Tensor& images, const Tensor& shown) {
    if (!out_.npy.empty()) {
      const auto dims = images.shape().dims();
      if (!array_) array_.emplace(session_.vfs(), out_.npy, DType::kF32, count_, dims.subspan(1));
      const auto values = images.to_vector<float>();
      array_->append(std::as_bytes(std::span(values)));
    }
    if (out_.png.empty()) return;
    const auto values = shown.to_vector<float>();
    shown_.insert(shown_.end(), values.begin(), values.end());
    shown_shape_ = shown.shape();
  }
  void finish() {
    if (array_) array_->close();
    if (out_.png.empty()) return;
    const int64_t row = shown_shape_.elems() / shown_shape_[0];
    const Shape shape = shown_shape_.with_dim0(static_cast<int64_t>(shown_.size()) / row);
    const Context ctx = session_.context();
    const Tensor all = Tensor::from_host(ctx, shape, DType::kF32, shown_.data());
    write_png(session_.vfs(), out_.png, picture_of(ctx, all, out_.columns));
  }

 private:
  const Session& session_;
  const ImageOutput& out_;
  int64_t count_;
  std::optional<NpyWriter> array_;
  std::vector<float> shown_;
  Shape shown_shape_;
};

// Calls body(begin, end) for rows in batches of the session's size.
template <class Body>
void for_batches(const Session& session, int64_t rows, const std::string& what, const Body& body) {
  Progress progress(what);
  const int64_t batch = session.options().batch;
  for (int64_t begin = 0; begin < rows; begin += batch) {
    progress.update(begin, rows);
    body(begin, std::min(rows, begin + batch));
  }
}

int64_t generate_all(const Session& session, const Matrix& z, const ImageOutput& out) {
  const Context ctx = session.context();
  ImageSink sink(session, out, z.rows);
  for_batches(session, z.rows, "sample", [&](int64_t begin, int64_t end) {
    const Tensor images = generate(session.model(), ctx, to_tensor(ctx, z, begin, end));
    sink.add(images, images);
  });
  sink.finish();
  return z.rows;
}

// Images for D: at its own resolution, or at E's and reduced as in training.
std::unique_ptr<ImageSource> discriminator_images(const Session& session,
                                                  const DiscriminateOptions& options) {
  int64_t resolution = session.model().arch.encoder_resolution;
  if (Vfs::Path(options.x).extension() == ".npy" && session.vfs().exists(options.x)) {
    const NpyArray array = read_npy(session.vfs(), options.x);
    if (array.shape.size() == 4 && array.shape[1] == session.model().config.resolution)
      resolution = array.shape[1];
  }
  return open_images(session.vfs(), {.path = options.x,
                                     .split = split_of(options.split),
                                     .resolution = resolution,
                                     .channels = session.model().config.image_channels,
                                     .val_images = session.settings().val_images});
}

// Scores by name; the empty ones are those the model was trained without.
using Scores = std::map<std::string, std::vector<float>>;

void append(std::vector<float>& list, const Var& score) {
  const auto values = score.value.to_vector<float>();
  list.insert(list.end(), values.begin(), values.end());
}

void add_scores(const BigBiGAN& model, const Context& ctx, const PreparedWeights& d,
                const Tensor& x, const Tensor& z, Scores& scores) {
  const Discriminator& discriminator = model.discriminator;
  const Var f = discriminator.image(ctx, d, x);
  if (model.config.loss_x) append(scores["score_x"], discriminator.score_x(ctx, d, f));
  if (!model.encoder) return;
  const Var h = discriminator.latent(ctx, d, z);
  if (model.config.loss_z) append(scores["score_z"], discriminator.score_z(ctx, d, h));
  if (model.config.loss_xz)
    append(scores["score_xz"], discriminator.score_xz(ctx, d, discriminator.joint(ctx, d, f, h)));
}

}  // namespace

int64_t sample(const Session& session, const SampleOptions& options) {
  const Matrix z = options.z.empty() ? prior_matrix(session, options.seed, options.count)
                                     : read_latents(session, options.z);
  return generate_all(session, z, options.out);
}

int64_t interpolate(const Session& session, const InterpolateOptions& options) {
  const Matrix ends = prior_matrix(session, options.seed, 2 * options.rows);
  Matrix z(options.rows * options.steps, ends.columns);
  for (int64_t i = 0; i < z.rows; ++i) {
    const int64_t row = i / options.steps;
    const float share = options.steps > 1 ? static_cast<float>(i % options.steps) /
                                                static_cast<float>(options.steps - 1)
                                          : 0;
    const float *from = ends.row(2 * row), *to = ends.row(2 * row + 1);
    for (int64_t j = 0; j < z.columns; ++j) z.row(i)[j] = from[j] + share * (to[j] - from[j]);
  }
  ImageOutput out = options.out;
  out.columns = options.steps;
  return generate_all(session, z, out);
}

int64_t reconstruct(const Session& session, const ReconstructOptions& options) {
  static_cast<void>(session.encoder());  // or no reconstruction
  const Context ctx = session.context();
  const BigBiGAN& model = session.model();
  const auto images = encoder_images(session, options.data, split_of(options.split));
  const int64_t count =
      options.count == 0 ? images->size() : std::min(options.count, images->size());
  ImageSink sink(session, options.out, count);
  for_batches(session, count, "reconstruct", [&](int64_t begin, int64_t end) {
    const Tensor x = images->batch(ctx, begin, end);
    const Tensor again = reconstruct(model, ctx, x);
    sink.add(again, interleaved(ctx, model.discriminator_image(ctx, x), again));
  });
  sink.finish();
  return count;
}

int64_t discriminate(const Session& session, const DiscriminateOptions& options) {
  const Context ctx = session.context();
  const BigBiGAN& model = session.model();
  const auto images = discriminator_images(session, options);
  const bool at_d = images->resolution() == model.config.resolution;
  const bool encodes = options.z.empty() && model.encoder;
  if (encodes && images->resolution() != model.arch.encoder_resolution) {
    fail(ExitCode::kUsage, "{}: images at D's resolution {}; without --z they must be at E's, {}",
         options.x, images->resolution(), model.arch.encoder_resolution);
  }
  const Matrix z = options.z.empty() ? Matrix() : read_latents(session, options.z);
  if (!options.z.empty() && z.rows != images->size()) {
    fail(ExitCode::kBadData, "{}: {} latents for the {} images of {}", options.z, z.rows,
         images->size(), options.x);
  }
  const PreparedWeights d = model.discriminator.prepare(ctx);
  Scores scores;
  for_batches(session, images->size(), "discriminate", [&](int64_t begin, int64_t end) {
    const Tensor x = images->batch(ctx, begin, end);
    Tensor latent;
    if (encodes)
      latent = model.encoder->mean_and_stdev(ctx, (*model.encoder)(ctx, x)).first;
    else if (z.rows > 0)
      latent = to_tensor(ctx, z, begin, end);
    add_scores(model, ctx, d, at_d ? x : model.discriminator_image(ctx, x), latent, scores);
  });
  make_directories(session.vfs(), options.folder);
  for (const auto& [name, values] : scores) {
    const int64_t shape[] = {images->size()};
    write_npy(session.vfs(), Vfs::Path(options.folder) / (name + ".npy"), DType::kF32, shape,
              std::as_bytes(std::span(values)));
  }
  return images->size();
}

}  // namespace bigbigan
