// bigbigan-extract: encoder features of a data set, in its order.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>

#include "engine/io/flat_json.h"
#include "engine/util/cli.h"
#include "engine/util/program.h"
#include "engine/util/signals.h"
#include "eval/extract.h"

namespace bigbigan {
namespace {

constexpr const char* kHelp =
    "Encoder features of images, in the order of the data set.\n\n"
    "Examples:\n"
    "  bigbigan-extract runs/first --data /usr/share/datasets/fashion-mnist --split train --out "
    "features/train\n"
    "  bigbigan-extract runs/first --split test --out features/test --output bn_crelu_feat \\\n"
    "      --feature-stats features/train\n"
    "  bigbigan-extract runs/first --data x.npy --npy arrays/\n\n"
    "Writes features.npy (N, D) f32, labels.npy (N) i64 with -1 for none, index.tsv, and "
    "feature_stats.npy (2, D):\n"
    "mean and variance of each AvePool feature over the images extracted.\n"
    "bn_crelu_feat normalises with the statistics of the images extracted, unless --feature-stats "
    "gives those of an\n"
    "earlier extraction. For a probe, extract the training images first and give their statistics "
    "for the test images.\n"
    "With stored batch-norm statistics a row depends on its image alone, not on --batch, --threads "
    "or --shard.";

struct Arguments {
  ModelOptions model;
  std::string data, split = "train", out, npy, output, feature_stats, shard;
  int64_t seed = 0;
  bool json = false;
};

// "i/n" -> {i, n}; throws Error{kUsage}.
std::pair<int64_t, int64_t> parse_shard(const std::string& text) {
  if (text.empty()) return {0, 1};
  const size_t slash = text.find('/');
  int64_t i = -1, n = 0;
  const char *begin = text.data(), *end = begin + text.size();
  if (slash != std::string::npos) {
    const auto [after_i, bad_i] = std::from_chars(begin, begin + slash, i);
    const auto [after_n, bad_n] = std::from_chars(begin + slash + 1, end, n);
    if (bad_i == std::errc() && bad_n == std::errc() && after_i == begin + slash &&
        after_n == end && 0 <= i && i < n) {
      return {i, n};
    }
  }
  fail(ExitCode::kUsage, "--shard {}: expected i/n with 0 <= i < n, e.g. 0/4", text);
}

ExtractOptions options_of(const Arguments& args) {
  if (args.out.empty() == args.npy.empty()) {
    fail(ExitCode::kUsage,
         "give one of --out DIR (features with labels and index) and --npy DIR (one array per "
         "output)");
  }
  const bool arrays_only = !args.npy.empty();
  const auto [shard, shards] = parse_shard(args.shard);
  std::vector<std::string> outputs = {kAvePool};
  if (!args.output.empty()) {
    outputs = split_choices(args.output, "--output", output_names());
  } else if (arrays_only) {
    outputs = output_names();
  }
  if (!arrays_only && outputs.size() > 1)
    fail(ExitCode::kUsage, "--out takes one --output; --npy takes several");
  return {.outputs = outputs,
          .data = args.data,
          .feature_stats = args.feature_stats,
          .split = args.split,
          .folder = arrays_only ? args.npy : args.out,
          .arrays_only = arrays_only,
          .shard = shard,
          .shards = shards,
          .seed = args.seed};
}

int run(int argc, char** argv) {
  Arguments args;
  CLI::App app(kHelp, "bigbigan-extract");
  add_model_options(app, args.model);
  app.add_option("--data", args.data,
                 "folder with IDX files, or .npy of images: u8, or f32/f64 (N, R, R, C) in [-1, 1] "
                 "[the run's]")
      ->type_name("PATH");
  add_choice(app, "--split", args.split, "val: the training images that the run holds out",
             {"train", "test", "val"});
  app.add_option("-o,--out", args.out, "folder for features.npy, labels.npy, index.tsv")
      ->type_name("DIR");
  app.add_option("--npy", args.npy, "instead: folder for one array per output, named after it")
      ->type_name("DIR");
  app.add_option(
         "--output", args.output,
         "avepool_feat, bn_crelu_feat, z_mean, z_stdev, z_sample [avepool_feat; with --npy all]")
      ->type_name("NAME");
  app.add_option("--feature-stats", args.feature_stats,
                 "folder of an earlier extraction: statistics for bn_crelu_feat")
      ->type_name("DIR");
  app.add_option("--shard", args.shard, "only part i of n, by index; adds _<i> to the names")
      ->type_name("i/n");
  add_integer(app, "--seed", args.seed, "of the noise in z_sample", 0);
  app.add_flag("--json", args.json, "print what was written as JSON");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;

  const ExtractOptions options = options_of(args);
  const StopSignals signals;
  PosixVfs vfs;
  const Session session(vfs, args.model);
  const int64_t images = extract(session, options);
  if (args.json) {
    fmt::print("{}\n", to_json({{"images", images},
                                {"folder", options.folder.string()},
                                {"checkpoint", session.loaded().source.string()},
                                {"step", session.loaded().step},
                                {"protocol", session.description()}}));
  } else {
    fmt::print("{} images, {} of {} ({}) -> {}\n", images, fmt::join(options.outputs, ", "),
               session.loaded().source.string(), session.description(), options.folder.string());
  }
  return 0;
}

}  // namespace
}  // namespace bigbigan

int main(int argc, char** argv) {
  return bigbigan::run_program("bigbigan-extract", [&] { return bigbigan::run(argc, argv); });
}
