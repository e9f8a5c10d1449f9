// bigbigan-eval sample, interpolate, reconstruct and discriminate.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "engine/io/flat_json.h"
#include "engine/util/cli.h"
#include "eval/commands.h"
#include "eval/sample.h"

namespace bigbigan {
namespace {

template <class Options>
struct Arguments {
  ModelOptions model;
  Options options;
  bool json = false;
};

// Declares a subcommand with the options of a model; `work` returns a number of images.
template <class Options>
std::pair<CLI::App*, std::shared_ptr<Arguments<Options>>> add_command(
    CLI::App& app, Command& chosen, const std::string& name, const std::string& help,
    int64_t (*work)(const Session&, const Options&)) {
  const auto args = std::make_shared<Arguments<Options>>();
  CLI::App* sub = app.add_subcommand(name, help);
  add_model_options(*sub, args->model);
  sub->add_flag("--json", args->json, "print what was done as JSON");
  sub->callback([args, work, name, &chosen] {
    chosen = [args, work, name](Vfs& vfs) {
      const Session session(vfs, args->model);
      const int64_t images = work(session, args->options);
      const std::string source = session.loaded().source.string();
      if (args->json) {
        fmt::print("{}\n", to_json({{"command", name},
                                    {"images", images},
                                    {"checkpoint", source},
                                    {"step", session.loaded().step},
                                    {"protocol", session.description()}}));
      } else {
        fmt::print("{}: {} images by {} ({})\n", name, images, source, session.description());
      }
      return 0;
    };
  });
  return {sub, args};
}

void add_output(CLI::App& app, ImageOutput& out) {
  app.add_option("-o,--out", out.png, "grid as PNG")->type_name("FILE.png");
  app.add_option("--npy", out.npy, "array (N, R, R, C) f32 in [-1, 1]")->type_name("FILE.npy");
}

void add_split(CLI::App& app, std::string& split) {
  add_choice(app, "--split", split, "val: the training images that the run holds out",
             {"train", "test", "val"});
}

}  // namespace

void add_sample_command(CLI::App& app, Command& chosen) {
  const auto [sub, args] = add_command<SampleOptions>(
      app, chosen, "sample",
      "Images of latents.\n\nExamples:\n"
      "  bigbigan-eval sample runs/first --out samples.png --count 64 --seed 1\n"
      "  bigbigan-eval sample runs/first --z z.npy --npy out.npy --weights live",
      sample);
  SampleOptions& options = args->options;
  add_output(*sub, options.out);
  CLI::Option* const z = sub->add_option("--z", options.z, "latents (N, z_dim) [from the prior]")
                             ->type_name("FILE.npy");
  add_integer(*sub, "-n,--count", options.count, "number of images", 1, 1 << 24)->excludes(z);
  add_integer(*sub, "--seed", options.seed, "of the latents", 0);
  add_integer(*sub, "--columns", options.out.columns, "of the grid", 1, 256);
}

void add_interpolate_command(CLI::App& app, Command& chosen) {
  const auto [sub, args] = add_command<InterpolateOptions>(
      app, chosen, "interpolate",
      "Rows of images on straight lines between two latents.\n\nExamples:\n"
      "  bigbigan-eval interpolate runs/first --out lines.png --rows 8 --steps 10",
      interpolate);
  InterpolateOptions& options = args->options;
  add_output(*sub, options.out);
  add_integer(*sub, "--rows", options.rows, "pairs of latents", 1, 1024);
  add_integer(*sub, "--steps", options.steps, "images from one latent to the other", 2, 256);
  add_integer(*sub, "--seed", options.seed, "of the latents", 0);
}

void add_reconstruct_command(CLI::App& app, Command& chosen) {
  const auto [sub, args] = add_command<ReconstructOptions>(
      app, chosen, "reconstruct",
      "Images beside their reconstructions: x, G(E(x)), x, G(E(x)), ...\n\nExamples:\n"
      "  bigbigan-eval reconstruct runs/first --out pairs.png\n"
      "  bigbigan-eval reconstruct runs/first --data x.npy --npy out.npy --count 0",
      reconstruct);
  ReconstructOptions& options = args->options;
  add_output(*sub, options.out);
  sub->add_option("--data", options.data, "images [the run's]")->type_name("PATH");
  add_split(*sub, options.split);
  add_integer(*sub, "-n,--count", options.count, "the first images; 0: all", 0, 1 << 24);
  add_integer(*sub, "--columns", options.out.columns, "of the grid", 2, 256);
}

void add_discriminate_command(CLI::App& app, Command& chosen) {
  const auto [sub, args] = add_command<DiscriminateOptions>(
      app, chosen, "discriminate",
      "Scores s_x, s_z and s_xz of pairs of images and latents, as arrays.\n\nExamples:\n"
      "  bigbigan-eval discriminate runs/first --x x.npy --z z.npy --npy scores/\n"
      "  bigbigan-eval discriminate runs/first --x /usr/share/datasets/fashion-mnist --npy "
      "scores/\n\n"
      "Writes score_x.npy, score_z.npy and score_xz.npy (N) f32. Without --z the latent is the "
      "mean of E(x). D has no\n"
      "moving averages: --weights ema concerns E only.",
      discriminate);
  DiscriminateOptions& options = args->options;
  sub->add_option("--x", options.x, "images: a data set, or .npy")->required()->type_name("PATH");
  add_split(*sub, options.split);
  sub->add_option("--z", options.z, "latents (N, z_dim) [the mean of E(x)]")->type_name("FILE.npy");
  sub->add_option("--npy", options.folder, "folder for the scores")->required()->type_name("DIR");
}

}  // namespace bigbigan
