// The programs themselves: exit codes, messages, files.

#include "engine/io/npy.h"
#include "eval/run_data.h"
#include "tests/eval/fixture.h"

namespace bigbigan {
namespace {

void require_failure(const std::string& program, const std::string& arguments, ExitCode code,
                     std::initializer_list<const char*> parts) {
  const ProgramResult result = run_program_of_build(program, arguments);
  INFO(program << " " << arguments << "\n" << result.err);
  REQUIRE(result.code == static_cast<int>(code));
  REQUIRE(result.out.empty());
  for (const char* part : parts) REQUIRE_THAT(result.err, Catch::Contains(part));
}

}  // namespace

TEST_CASE("bad command lines end with 64 and a hint", "[eval][programs]") {
  TinyRun tiny;
  const std::string run = tiny.run().string();
  require_failure("bigbigan-eval", "", ExitCode::kUsage, {"no command", "sample", "report"});
  require_failure("bigbigan-eval", "prob " + run, ExitCode::kUsage,
                  {"unknown command prob", "did you mean probe?"});
  require_failure("bigbigan-eval", "sample " + run + " --cuont 3 --fiel x", ExitCode::kUsage,
                  {"unexpected argument --cuont (did you mean --count?)",
                   "unexpected argument --fiel", "sample --help"});
  require_failure("bigbigan-eval", "sample " + run + " --count 3x --out a.png", ExitCode::kUsage,
                  {"--count", "3x", "integer"});
  require_failure("bigbigan-eval", "sample " + run + " --count 0 --out a.png", ExitCode::kUsage,
                  {"--count", "from 1 to"});
  require_failure("bigbigan-eval", "sample " + run, ExitCode::kUsage, {"--out", "--npy"});
  require_failure("bigbigan-eval", "probe", ExitCode::kUsage, {"MODEL"});
  require_failure("bigbigan-eval", "probe " + run + " --feature avepol_feat", ExitCode::kUsage,
                  {"did you mean avepool_feat?"});
  require_failure("bigbigan-eval", "knn " + run + " --metric l1,cosin", ExitCode::kUsage,
                  {"--metric", "did you mean cosine?"});
  require_failure("bigbigan-eval", "knn --train-features a", ExitCode::kUsage, {"--test-features"});
  require_failure("bigbigan-extract", run, ExitCode::kUsage, {"--out DIR", "--npy DIR"});
  require_failure("bigbigan-extract", run + " --out o --shard 4/4", ExitCode::kUsage,
                  {"--shard 4/4", "i/n"});
  require_failure("bigbigan-extract", run + " --out o --output z_meen", ExitCode::kUsage,
                  {"did you mean z_mean?"});
  require_failure("bigbigan-extract", "--out o", ExitCode::kUsage, {"model"});
}

TEST_CASE("help and version go to standard output", "[eval][programs]") {
  for (const char* program : {"bigbigan-eval", "bigbigan-extract"}) {
    const ProgramResult version = run_program_of_build(program, "--version"),
                        help = run_program_of_build(program, "--help");
    REQUIRE(version.code == 0);
    REQUIRE_THAT(version.out, Catch::StartsWith(program));
    REQUIRE(help.code == 0);
    REQUIRE_THAT(help.out, Catch::Contains("\n\nUsage:"));
    REQUIRE(help.out.find("Examples:") < help.out.find("Usage:"));
  }
}

TEST_CASE("bad input ends with its own code", "[eval][programs]") {
  TinyRun tiny;
  const std::string run = tiny.run().string(), out = " --out " + tiny.path("out").string();
  require_failure("bigbigan-extract", tiny.path("nothing").string() + out, ExitCode::kNoInput,
                  {"nothing", "not found"});
  require_failure("bigbigan-extract", tiny.data().string() + out, ExitCode::kNoInput,
                  {"no checkpoint"});
  require_failure("bigbigan-extract", run + " --data " + tiny.path("nothing").string() + out,
                  ExitCode::kNoInput, {"nothing"});
  require_failure("bigbigan-extract", run + " --device cuda" + out, ExitCode::kSystem,
                  {"no CUDA backend", "--device cpu"});
  write_raw(tiny.path("bad.npy"), "not an array");
  require_failure("bigbigan-extract", run + " --data " + tiny.path("bad.npy").string() + out,
                  ExitCode::kBadData, {"bad.npy"});
  std::vector<float> values(32 * 32, 1.5f);
  const int64_t shape[] = {1, 32, 32, 1};
  write_npy(tiny.vfs, tiny.path("x.npy"), DType::kF32, shape, std::as_bytes(std::span(values)));
  require_failure("bigbigan-extract", run + " --data " + tiny.path("x.npy").string() + out,
                  ExitCode::kBadData, {"x.npy", "1.5", "[-1, 1]"});
  std::fill(values.begin(), values.end(), 0.5f);
  std::filesystem::remove(tiny.path("x.npy"));
  write_npy(tiny.vfs, tiny.path("x.npy"), DType::kF32, shape, std::as_bytes(std::span(values)));
  require_failure("bigbigan-eval", "probe " + run + " --data " + tiny.path("x.npy").string(),
                  ExitCode::kBadData, {"no label"});
  require_failure("bigbigan-eval", "report " + tiny.data().string(), ExitCode::kNoInput,
                  {"config.toml"});

  // A checkpoint that is damaged: the only one there is.
  const Vfs::Path weights = tiny.run() / "step-00000007" / kModelFile;
  std::filesystem::resize_file(weights, std::filesystem::file_size(weights) - 1);
  require_failure("bigbigan-extract", run + out, ExitCode::kNoCheckpoint, {"step-00000007"});
  REQUIRE_FALSE(tiny.vfs.exists(tiny.path("out")));
}

TEST_CASE("a model without encoder has samples but no features", "[eval][programs]") {
  TinyRun tiny;
  std::string config = read_raw(tiny.run() / "config.toml");
  const Vfs::Path folder = tiny.path("gan");
  std::filesystem::create_directory(folder);
  ModelConfig model_config;
  apply_toml(config_fields(model_config), config, "test", UnknownKeys::kIgnore);
  model_config.loss_z = model_config.loss_xz = false;
  config.replace(config.find("[model]"), 7, "[model]\nloss_z = false\nloss_xz = false");
  HostAllocator allocator;
  const Context ctx{.exec = CpuExec{}, .allocator = &allocator};
  BigBiGAN model(model_config);
  model.allocate(ctx, false);
  model.initialize(1);
  const ExportedWeights weights = export_weights(model, WeightSet::kLive);
  const auto file = tiny.vfs.create(folder / "gan.safetensors");
  write_safetensors(*file, weights.tensors, {{"config", config}, {"step", "1"}});
  file->close();
  const std::string path = (folder / "gan.safetensors").string();
  REQUIRE(run_program_of_build("bigbigan-eval",
                               "sample " + path + " --count 2 --npy " + (folder / "s.npy").string())
              .code == 0);
  require_failure("bigbigan-extract", path + " --out " + (folder / "o").string(), ExitCode::kConfig,
                  {"no encoder"});
  require_failure("bigbigan-eval", "reconstruct " + path + " --out " + (folder / "r.png").string(),
                  ExitCode::kConfig, {"no encoder"});
}

// The text of a number in JSON.
std::string figure_of(const std::string& json, const std::string& key) {
  const size_t begin = json.find("\"" + key + "\":");
  REQUIRE(begin != std::string::npos);
  const size_t value = begin + key.size() + 3;
  return json.substr(value, json.find_first_of(",}", value) - value);
}

TEST_CASE("extract, probe and knn work together, and report shows them", "[eval][programs]") {
  TinyRun tiny;
  const std::string run = tiny.run().string(), train = tiny.path("train").string(),
                    test = tiny.path("test").string();
  REQUIRE(run_program_of_build("bigbigan-extract", run + " --split train --out " + train).code ==
          0);
  REQUIRE(run_program_of_build("bigbigan-extract", run + " --split test --out " + test).code == 0);
  for (const std::string command : {"probe", "knn"}) {
    const ProgramResult from_files =
        run_program_of_build("bigbigan-eval", command + " --json --train-features " + train +
                                                  " --test-features " + test);
    INFO(from_files.err);
    REQUIRE(from_files.code == 0);
    const ProgramResult direct = run_program_of_build(
        "bigbigan-eval", command + " " + run + " --feature avepool_feat --json");
    REQUIRE(direct.code == 0);
    // The same features, so the same figures.
    const std::string key = command == "probe" ? "top1" : "top1_k1";
    REQUIRE(figure_of(from_files.out, key) == figure_of(direct.out, key));
    REQUIRE_THAT(direct.out, Catch::Contains("\"test_images\":21"));
    const ProgramResult both = run_program_of_build(
        "bigbigan-eval", "features " + run + " --feature avepool_feat --metric l1 --json");
    REQUIRE(both.code == 0);
    REQUIRE(figure_of(both.out, command == "probe" ? "top1" : "knn_l1_k1") ==
            figure_of(direct.out, key));
  }
  const ProgramResult table =
      run_program_of_build("bigbigan-eval", "features " + run + " --baselines");
  for (const char* part : {"trained", "untrained", "raw_pixels", "standing batch-norm statistics",
                           "probe %", "kNN l2 k=25 %"}) {
    REQUIRE_THAT(table.out, Catch::Contains(part));
  }
  REQUIRE(run_program_of_build("bigbigan-eval", "report " + run).code == 0);
  REQUIRE_THAT(read_raw(tiny.run() / "report.html"),
               Catch::Contains("raw_pixels") && Catch::Contains("nearest neighbours"));
}

TEST_CASE("extract --npy writes one array per output", "[eval][programs]") {
  TinyRun tiny;
  const std::string folder = tiny.path("arrays").string();
  const ProgramResult result = run_program_of_build(
      "bigbigan-extract", tiny.run().string() + " --split test --json --npy " + folder);
  REQUIRE(result.code == 0);
  REQUIRE_THAT(result.out, Catch::Contains("\"images\":21"));
  for (const auto& [name, columns] :
       {std::pair("avepool_feat", kTinyFeatures), std::pair("bn_crelu_feat", 2 * kTinyFeatures),
        std::pair("z_mean", kTinyLatent), std::pair("z_stdev", kTinyLatent),
        std::pair("z_sample", kTinyLatent)}) {
    const NpyArray array = read_npy(tiny.vfs, Vfs::Path(folder) / (std::string(name) + ".npy"));
    REQUIRE(array.dtype == DType::kF32);
    REQUIRE(array.shape == std::vector<int64_t>{kTestImages, columns});
  }
  REQUIRE_FALSE(tiny.vfs.exists(Vfs::Path(folder) / "labels.npy"));
}

}  // namespace bigbigan
