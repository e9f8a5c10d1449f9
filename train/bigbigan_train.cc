// bigbigan-train: trains a BigBiGAN, or continues a run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "engine/util/cli.h"
#include "engine/util/signals.h"
#include "models/bigbigan/describe.h"
#include "train/trainer.h"

namespace bigbigan {
namespace {

struct Arguments {
  std::string preset, config_file, data, run_dir, resume;
  std::vector<std::string> overrides;
  bool describe = false, dry_run = false, json = false;
};

constexpr int64_t kMaxConfigBytes = 1 << 20;

// Precedence: defaults, preset, file, --data, key=value.
Config resolve(Vfs& vfs, const Arguments& args) {
  Config config;
  const auto fields = config_fields(config);
  if (!args.preset.empty()) apply_toml(fields, preset_text(args.preset), "preset " + args.preset);
  if (!args.config_file.empty()) apply_toml(fields, read_text(vfs, args.config_file, kMaxConfigBytes), args.config_file);
  if (!args.resume.empty()) {
    const Vfs::Path saved = Vfs::Path(args.resume) / "config.toml";
    apply_toml(fields, read_text(vfs, saved, kMaxConfigBytes), saved.string());
  }
  if (!args.data.empty()) config.data.path = args.data;
  for (const std::string& override_text : args.overrides) apply_override(fields, override_text);
  return config;
}

std::string json_description(const BigBiGAN& model) {
  std::string text = "{\"parameters\": {";
  const char* separator = "";
  for (const auto& [part, count] : parameter_counts(model)) {
    text += fmt::format("{}\"{}\": {}", separator, part, count);
    separator = ", ";
  }
  text += "}, \"conformance\": ";
  FlatJson sheet;
  for (const auto& [what, how] : conformance_sheet(model)) sheet.emplace_back(what, how);
  return text + to_json(sheet) + "}";
}

// The first unused runs/NNNNN-<preset>.
Vfs::Path new_run_directory(Vfs& vfs, const std::string& preset) {
  for (int n = 0;; ++n) {
    const Vfs::Path path = fmt::format("runs/{:05}-{}", n, preset.empty() ? "custom" : preset);
    if (!vfs.exists(path)) return path;
  }
}

ExitCode train(Vfs& vfs, const Arguments& args, const Config& config) {
  const bool resuming = !args.resume.empty();
  const Vfs::Path run = resuming ? Vfs::Path(args.resume)
                        : args.run_dir.empty() ? new_run_directory(vfs, args.preset) : Vfs::Path(args.run_dir);
  make_directories(vfs, run);
  const RunLock lock(run);
  const Vfs::Path saved_config = run / "config.toml";
  if (!resuming && vfs.exists(saved_config)) {
    fail(ExitCode::kCannotCreate, "{} already holds a run; continue it with --resume {}, or give another --run-dir",
         run.string(), run.string());
  }
  const StopSignals signals;
  Trainer trainer(vfs, run, config);
  // Written last: a run that cannot start (no data, say) leaves its directory free.
  write_file_atomic(vfs, saved_config, trainer.state().config);
  fmt::print(stderr, "run {}\n", run.string());
  return trainer.run();
}

int run(int argc, char** argv) {
  Arguments args;
  CLI::App app("Trains a BigBiGAN.\n\nExamples:\n  bigbigan-train --preset fmnist-32-tiny --run-dir runs/first train.minutes=5\n"
               "  bigbigan-train --resume runs/first train.minutes=10\n  bigbigan-train --preset base --describe", "bigbigan-train");
  app.add_option("--preset", args.preset, "one of: " + fmt::format("{}", fmt::join(preset_names(), ", ")));
  app.add_option("--config", args.config_file, "TOML file, read after the preset");
  app.add_option("--data", args.data, "same as data.path=PATH");
  app.add_option("--run-dir", args.run_dir, "directory of the run [runs/NNNNN-<preset>]");
  app.add_option("--resume", args.resume, "continue the run in this directory");
  app.add_flag("--describe", args.describe, "print architecture, conformance sheet and parameter counts, and exit");
  app.add_flag("--dry-run", args.dry_run, "check everything, print the configuration and the memory plan, and exit");
  app.add_flag("--json", args.json, "with --describe: as JSON");
  app.add_option("overrides", args.overrides, "key=value, e.g. train.batch=64 (all keys: --dry-run)");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  PosixVfs vfs;
  const Config config = resolve(vfs, args);
  if (args.describe) {
    const BigBiGAN model(config.model);
    fmt::print("{}\n", args.json ? json_description(model) : describe(model));
    return 0;
  }
  if (args.dry_run) {
    Config copy = config;
    open_dataset(vfs, config.data.path, Split::kTrain, architecture(config.model).encoder_resolution);
    fmt::print("{}\n# Memory plan: {}\n", to_toml(config_fields(copy)), memory_plan(config));
    return 0;
  }
  return static_cast<int>(train(vfs, args, config));
}

}  // namespace
}  // namespace bigbigan

int main(int argc, char** argv) {
  return bigbigan::run_program("bigbigan-train", [&] { return bigbigan::run(argc, argv); });
}
