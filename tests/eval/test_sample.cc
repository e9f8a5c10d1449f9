#include <cstring>

#include "engine/io/npy.h"
#include "engine/ops/random.h"
#include "eval/extract.h"
#include "eval/sample.h"
#include "tests/eval/fixture.h"

namespace bigbigan {
namespace {

std::vector<float> floats_of(Vfs& vfs, const Vfs::Path& path) {
  const NpyArray array = read_npy(vfs, path);
  REQUIRE(array.dtype == DType::kF32);
  std::vector<float> values(array.elems());
  std::memcpy(values.data(), array.data.data(), array.data.size());
  return values;
}

std::vector<float> floats_of(const Tensor& t) { return {t.as<float>(), t.as<float>() + t.elems()}; }

Matrix some_latents(int64_t rows) {
  Matrix z(rows, kTinyLatent);
  for (size_t i = 0; i < z.values.size(); ++i)
    z.values[i] = 0.1f * static_cast<float>(i % 19) - 0.9f;
  return z;
}

Tensor as_tensor(const Context& ctx, const Matrix& x) {
  const Tensor t = Tensor::empty(ctx, {x.rows, x.columns}, DType::kF32);
  std::memcpy(t.as<float>(), x.values.data(), t.view().bytes());
  return t;
}

}  // namespace

TEST_CASE("sample --z gives the generator's images, whatever the batch", "[eval][sample]") {
  TinyRun tiny;
  const Session session = tiny.session({.batch = 4});
  const Matrix z = some_latents(11);
  write_matrix(tiny.vfs, tiny.path("z.npy"), z);
  REQUIRE(sample(session, {.z = tiny.path("z.npy").string(),
                           .out = {.png = tiny.path("grid.png").string(),
                                   .npy = tiny.path("out.npy").string()}}) == 11);
  REQUIRE(read_npy(tiny.vfs, tiny.path("out.npy")).shape == std::vector<int64_t>{11, 32, 32, 1});
  REQUIRE(floats_of(tiny.vfs, tiny.path("out.npy")) ==
          floats_of(generate(session.model(), session.context(), as_tensor(session.context(), z))));
  REQUIRE(read_raw(tiny.path("grid.png")).substr(1, 3) == "PNG");
}

TEST_CASE("the first samples of a seed are the same whatever the count", "[eval][sample]") {
  TinyRun tiny;
  const Session session = tiny.session();
  sample(session, {.count = 3, .seed = 9, .out = {.npy = tiny.path("few.npy").string()}});
  sample(session, {.count = 8, .seed = 9, .out = {.npy = tiny.path("many.npy").string()}});
  const std::vector<float> few = floats_of(tiny.vfs, tiny.path("few.npy"));
  std::vector<float> many = floats_of(tiny.vfs, tiny.path("many.npy"));
  many.resize(few.size());
  REQUIRE(few == many);
}

TEST_CASE("latents of another size or not finite are refused", "[eval][sample]") {
  TinyRun tiny;
  const Session session = tiny.session();
  write_matrix(tiny.vfs, tiny.path("z.npy"), Matrix(2, kTinyLatent + 1));
  const SampleOptions options{.z = tiny.path("z.npy").string(),
                              .out = {.npy = tiny.path("out.npy").string()}};
  require_error([&] { sample(session, options); }, ExitCode::kBadData,
                {"z.npy", "9", "z_dim is 8"});
  Matrix z = some_latents(2);
  z.values[9] = std::nanf("");
  std::filesystem::remove(tiny.path("z.npy"));
  write_matrix(tiny.vfs, tiny.path("z.npy"), z);
  require_error([&] { sample(session, options); }, ExitCode::kBadData, {"row 1", "finite"});
  REQUIRE_FALSE(tiny.vfs.exists(tiny.path("out.npy")));
  require_error([&] { sample(session, {}); }, ExitCode::kUsage, {"--out"});
}

TEST_CASE("reconstructions are G of the mean of E", "[eval][sample]") {
  TinyRun tiny;
  const Session session = tiny.session({.batch = 5});
  REQUIRE(reconstruct(session, {.count = 12, .out = {.npy = tiny.path("out.npy").string()}}) == 12);
  const Context ctx = session.context();
  const auto images = encoder_images(session, "", ImageSplit::kTest);
  const Encoder& encoder = session.encoder();
  const Tensor mean = encoder.mean_and_stdev(ctx, encoder(ctx, images->batch(ctx, 0, 12))).first;
  REQUIRE(floats_of(tiny.vfs, tiny.path("out.npy")) ==
          floats_of(generate(session.model(), ctx, mean)));
}

TEST_CASE("interpolation ends at the latents it starts from", "[eval][sample]") {
  TinyRun tiny;
  const Session session = tiny.session();
  REQUIRE(interpolate(session, {.rows = 2,
                                .steps = 5,
                                .seed = 4,
                                .out = {.npy = tiny.path("lines.npy").string()}}) == 10);
  sample(session, {.count = 4, .seed = 4, .out = {.npy = tiny.path("ends.npy").string()}});
  const std::vector<float> lines = floats_of(tiny.vfs, tiny.path("lines.npy")),
                           ends = floats_of(tiny.vfs, tiny.path("ends.npy"));
  constexpr int64_t kImage = 32 * 32;
  const int64_t line_of_end[] = {0, 4, 5, 9};
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t p = 0; p < kImage; ++p) {
      REQUIRE(lines[line_of_end[i] * kImage + p] == Approx(ends[i * kImage + p]).margin(1e-5));
    }
  }
}

TEST_CASE("discriminate gives the three scores of each pair", "[eval][discriminate]") {
  TinyRun tiny;
  const Session session = tiny.session({.batch = 8});
  write_matrix(tiny.vfs, tiny.path("z.npy"), some_latents(kTestImages));
  REQUIRE(discriminate(session, {.x = tiny.data().string(),
                                 .z = tiny.path("z.npy").string(),
                                 .folder = tiny.path("s").string()}) == kTestImages);
  const Context ctx = session.context();
  const Discriminator& d = session.model().discriminator;
  const PreparedWeights prepared = d.prepare(ctx);
  const auto images = encoder_images(session, "", ImageSplit::kTest);
  const Var f = d.image(ctx, prepared, images->batch(ctx, 0, kTestImages));
  const Var h = d.latent(ctx, prepared, as_tensor(ctx, some_latents(kTestImages)));
  REQUIRE(floats_of(tiny.vfs, tiny.path("s/score_x.npy")) ==
          floats_of(d.score_x(ctx, prepared, f).value));
  REQUIRE(floats_of(tiny.vfs, tiny.path("s/score_z.npy")) ==
          floats_of(d.score_z(ctx, prepared, h).value));
  REQUIRE(floats_of(tiny.vfs, tiny.path("s/score_xz.npy")) ==
          floats_of(d.score_xz(ctx, prepared, d.joint(ctx, prepared, f, h)).value));

  // Without latents: those of the encoder's means.
  discriminate(session, {.x = tiny.data().string(), .folder = tiny.path("e").string()});
  REQUIRE(floats_of(tiny.vfs, tiny.path("e/score_x.npy")) ==
          floats_of(tiny.vfs, tiny.path("s/score_x.npy")));
  REQUIRE(floats_of(tiny.vfs, tiny.path("e/score_z.npy")) !=
          floats_of(tiny.vfs, tiny.path("s/score_z.npy")));

  write_matrix(tiny.vfs, tiny.path("short.npy"), some_latents(3));
  require_error(
      [&] {
        discriminate(session, {.x = tiny.data().string(),
                               .z = tiny.path("short.npy").string(),
                               .folder = tiny.path("t").string()});
      },
      ExitCode::kBadData, {"3 latents", "21 images"});
}

}  // namespace bigbigan
