// bigbigan-eval: samples, reconstructions and scores of a model, how good its features are, and the
// run's report.
#include <CLI/CLI.hpp>

#include "engine/util/cli.h"
#include "engine/util/program.h"
#include "engine/util/signals.h"
#include "eval/commands.h"

namespace bigbigan {
namespace {

int run(int argc, char** argv) {
  CLI::App app(
      "Evaluates a BigBiGAN.\n\nExamples:\n"
      "  bigbigan-eval sample runs/first --out samples.png\n"
      "  bigbigan-eval reconstruct runs/first --out pairs.png\n"
      "  bigbigan-eval features runs/first --baselines\n"
      "  bigbigan-eval report runs/first\n"
      "  bigbigan-eval COMMAND --help",
      "bigbigan-eval");
  app.require_subcommand(1);
  Command command;
  add_sample_command(app, command);
  add_interpolate_command(app, command);
  add_reconstruct_command(app, command);
  add_discriminate_command(app, command);
  add_probe_command(app, command);
  add_knn_command(app, command);
  add_features_command(app, command);
  add_report_command(app, command);
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  const StopSignals signals;
  PosixVfs vfs;
  return command(vfs);
}

}  // namespace
}  // namespace bigbigan

int main(int argc, char** argv) {
  return bigbigan::run_program("bigbigan-eval", [&] { return bigbigan::run(argc, argv); });
}
