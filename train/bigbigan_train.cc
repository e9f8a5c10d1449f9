// bigbigan-train: trains a BigBiGAN, or continues a run.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <thread>

#include "engine/io/run_lock.h"
#include "engine/util/cli.h"
#include "engine/util/program.h"
#include "engine/util/signals.h"
#include "models/bigbigan/describe.h"
#include "train/device_of_rank.h"
#include "train/memory_plan.h"
#include "train/trainer.h"

namespace bigbigan {
namespace {

struct Arguments {
  std::string preset, config_file, data, run_dir, resume, init_from, seed;
  std::string device = "auto";
  std::vector<std::string> overrides;
  bool describe = false, dry_run = false, json = false;
};

constexpr int64_t kMaxConfigBytes = 1 << 20;

// Runs every part, and throws what is wrong with the configuration in all of them together.
void report_together(const std::vector<std::function<void()>>& parts) {
  std::string problems;
  for (const auto& part : parts) {
    try {
      part();
    } catch (const Error& e) {
      if (e.code() != ExitCode::kConfig) throw;
      problems += std::string(problems.empty() ? "" : "\n") + e.what();
    }
  }
  if (!problems.empty()) throw Error(ExitCode::kConfig, problems);
}

// Where a run that is continued keeps its configuration.
Vfs::Path saved_config(const Vfs::Path& run) { return run / "config.toml"; }

// Precedence: defaults, preset, file, environment, flags, key=value. A run that is continued
// without a preset and a file takes its own configuration in their place.
Config resolve(Vfs& vfs, const Arguments& args) {
  Config config;
  const auto fields = config_fields(config);
  const bool is_given = !args.preset.empty() || !args.config_file.empty();
  if (!args.resume.empty() && !is_given && !vfs.exists(saved_config(args.resume))) {
    fail(ExitCode::kNoInput, "{}: no run is there; to start one, give --preset or --config as well",
         args.resume);
  }
  std::vector<std::function<void()>> parts;
  const auto add_file = [&](const Vfs::Path& path) {
    parts.emplace_back(
        [&, path] { apply_toml(fields, read_text(vfs, path, kMaxConfigBytes), path.string()); });
  };
  const auto add_override = [&](const std::string& text) {
    parts.emplace_back([&fields, text] { apply_override(fields, text); });
  };
  if (!args.preset.empty()) {
    parts.emplace_back(
        [&] { apply_toml(fields, preset_text(args.preset), "preset " + args.preset); });
  }
  if (!args.config_file.empty()) add_file(args.config_file);
  if (!args.resume.empty() && !is_given) add_file(saved_config(args.resume));
  parts.emplace_back([&] {
    apply_environment(
        fields, std::array<std::string_view, 2>{"BIGBIGAN_FAULT", "BIGBIGAN_CONV_WORKSPACE_MIB"});
  });
  if (!args.data.empty()) add_override("data.path=" + args.data);
  if (!args.seed.empty()) add_override("train.seed=" + args.seed);
  for (const std::string& text : args.overrides) add_override(text);
  report_together(parts);
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

// A failure of the device says what is left of the run.
ExitCode run_to_end(Trainer& trainer, const Vfs::Path& run) {
  try {
    return trainer.run();
  } catch (const OutOfMemory&) {
    throw;
  } catch (const Error& error) {
    if (error.code() != ExitCode::kSystem) throw;
    fail(ExitCode::kSystem, "{}; {}", error.what(),
         trainer.saved_step() < 0
             ? "no checkpoint was written yet"
             : fmt::format("the checkpoint of step {} is whole: continue with --resume {}",
                           trainer.saved_step(), run.string()));
  }
}

// The run's directory, made where there is none and taken for this process. A start that fails and
// leaves nothing in it takes away what it has made.
class RunDirectory {
 public:
  RunDirectory(Vfs& vfs, const Vfs::Path& run, bool is_resuming) : vfs_(vfs) {
    for (Vfs::Path path = run; !path.empty() && !vfs.exists(path); path = path.parent_path()) {
      if (path.has_filename()) made_.push_back(path);  // "run/" is the same as "run"
    }
    make_directories(vfs, run);
    lock_.emplace(run);
    if (!is_resuming && vfs.exists(saved_config(run))) {
      fail(ExitCode::kCannotCreate,
           "{} already holds a run; continue it with --resume {}, or give another --run-dir",
           run.string(), run.string());
    }
  }
  ~RunDirectory() {
    try {
      if (made_.empty() || vfs_.list(made_.front()) != std::vector<std::string>{RunLock::kFile})
        return;
      vfs_.remove_file(made_.front() / RunLock::kFile);
      for (const Vfs::Path& path : made_) vfs_.remove_directory(path);
    } catch (const Error&) {  // in use by others, too: what led here is told
    }
  }
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

 private:
  Vfs& vfs_;
  std::vector<Vfs::Path> made_;  // inside out
  std::optional<RunLock> lock_;
};

// Threads of this rank: its part of the host's cores, unless the launcher has bound it to some.
int threads_of(const World& world, int64_t option) {
  if (option > 0 || world.local_size() == 1) return thread_count(option);
  const int usable = usable_cores(), all = static_cast<int>(std::thread::hardware_concurrency());
  return usable < all ? usable : std::max(1, usable / world.local_size());
}

ExitCode train_as(const Ranks& ranks, Vfs& vfs, const Vfs::Path& run, const Arguments& args,
                  const Config& config, Device& device) {
  const StopSignals signals;
  const auto room = device.allocator().memory().room();
  try {
    Trainer trainer(vfs, run, config, device, ranks);
    if (!args.init_from.empty() && trainer.state().step == 0) trainer.start_from(args.init_from);
    if (ranks.is_root()) {
      // Written last: a run that cannot start (no data, say) leaves its directory free.
      write_file_atomic(vfs, saved_config(run), trainer.state().config);
      note("run " + run.string());
      if (ranks.size() > 1) {
        note(fmt::format("{} ranks of {} images; to stop and save: kill -USR1 {}", ranks.size(),
                         config.train.batch / ranks.size(), ::getppid()));
      }
    }
    return run_to_end(trainer, run);
  } catch (const OutOfMemory& error) {
    if (!room) throw;
    fail(ExitCode::kSystem, "{}; {}", error.what(),
         out_of_memory_advice(config, device, ranks.size(), room->free_bytes));
  }
}

ExitCode train(World& world, Vfs& vfs, const Arguments& args, const Config& config) {
  Communicator& comm = world.communicator();
  auto limit = limit_setup(comm.rank(), comm.size(), config.ranks.setup_seconds);
  Device device(device_of_rank(world, args.device), threads_of(world, config.train.threads));
  const bool is_resuming = !args.resume.empty();
  Vfs::Path run = is_resuming ? args.resume : args.run_dir;
  std::optional<RunDirectory> directory;
  if (comm.rank() == 0) {
    if (run.empty()) run = new_run_directory(vfs, args.preset);
    directory.emplace(vfs, run, is_resuming);
  }
  run = broadcast_text(comm, run.string(), 0);
  Ranks::DeviceMaker make_device;
  if (device.accelerator() != nullptr) {
    make_device = [&](Communicator& bootstrap) {
      return make_nccl_communicator(bootstrap, device.exec(), config.ranks.setup_seconds);
    };
  }
  const Ranks ranks(world, vfs, run, config.ranks, make_device);
  limit = nullptr;  // from here on the watchdog of `ranks` has limits
  try {
    return train_as(ranks, vfs, run, args, config, device);
  } catch (const std::exception&) {
    const auto [code, what] = current_failure();
    if (ranks.size() > 1) write_error_record(vfs, run, ranks.rank(), code, what);
    throw;
  }
}

int run(World& world, int argc, char** argv) {
  const bool is_root = world.communicator().rank() == 0;
  Arguments args;
  CLI::App app(
      "Trains a BigBiGAN.\n\nExamples:\n  bigbigan-train --preset fmnist-32-tiny --run-dir "
      "runs/first train.minutes=5\n"
      "  bigbigan-train --resume runs/first train.minutes=10\n  bigbigan-train --preset base "
      "--describe\n  mpirun -n 4 bigbigan-train --preset fmnist-32-tiny --run-dir runs/four",
      "bigbigan-train");
  app.add_option("--preset", args.preset,
                 fmt::format("one of: {}", fmt::join(preset_names(), ", ")))
      ->type_name("NAME");
  app.add_option("--config", args.config_file, "TOML file, read after the preset")
      ->type_name("FILE");
  app.add_option("--data", args.data, "same as data.path=PATH")->type_name("PATH");
  app.add_option("--run-dir", args.run_dir, "directory of the run [runs/NNNNN-<preset>]")
      ->type_name("DIR");
  app.add_option(
         "--resume", args.resume,
         "continue the run in this directory; with --preset or --config: start it if there is none")
      ->type_name("DIR");
  app.add_option("--init-from", args.init_from,
                 "a new run starts from the weights of this run, checkpoint or .safetensors file")
      ->type_name("PATH");
  app.add_option("--seed", args.seed, "same as train.seed=N")->type_name("N");
  add_device(app, args.device);
  app.add_flag("--describe", args.describe,
               "print architecture, conformance sheet and parameter counts, and exit");
  app.add_flag("--dry-run", args.dry_run,
               "check everything, print the configuration and the memory plan, and exit");
  app.add_flag("--json", args.json, "with --describe: as JSON");
  app.add_option("overrides", args.overrides,
                 "key=value, e.g. train.batch=64 (all keys: --dry-run)")
      ->type_name("");
  if (const auto code = parse_command_line(app, argc, argv)) return *code;
  if (!args.resume.empty() && !args.run_dir.empty() && args.resume != args.run_dir) {
    fail(ExitCode::kUsage, "--run-dir {} and --resume {}: give one of them", args.run_dir,
         args.resume);
  }
  check_device_name(args.device);
  PosixVfs vfs;
  const Config config = resolve(vfs, args);
  if (!is_root && (args.describe || args.dry_run)) return 0;  // rank 0 says it
  if (args.describe) {
    const BigBiGAN model(config.model);
    fmt::print("{}\n", args.json ? json_description(model) : describe(model));
    return 0;
  }
  if (args.dry_run) {
    Config copy = config;
    Device device(args.device, thread_count(config.train.threads));
    announce(to_toml(config_fields(copy)) + "\n" +
             memory_plan_text(config, device, world.communicator().size()));
    open_training_images(vfs, config);  // last: what is above serves without them, too
    return 0;
  }
  return static_cast<int>(train(world, vfs, args, config));
}

}  // namespace
}  // namespace bigbigan

int main(int argc, char** argv) {
  constexpr const char* kName = "bigbigan-train";
  return bigbigan::run_program(kName, [&] {
    const auto world = bigbigan::join_world();
    return bigbigan::run_rank(*world, kName, [&] { return bigbigan::run(*world, argc, argv); });
  });
}
