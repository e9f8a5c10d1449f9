// The commands of bigbigan-eval: each adds itself to the program; its options outlive the parsing.
#pragma once

#include <functional>

#include "engine/io/vfs.h"

namespace CLI {
class App;
}

namespace bigbigan {

// Runs the command that was chosen on the command line; returns an exit code.
using Command = std::function<int(Vfs&)>;

// Each declares its subcommand in `app` and sets `chosen` when the subcommand is given.
void add_sample_command(CLI::App& app, Command& chosen);
void add_interpolate_command(CLI::App& app, Command& chosen);
void add_reconstruct_command(CLI::App& app, Command& chosen);
void add_discriminate_command(CLI::App& app, Command& chosen);
void add_probe_command(CLI::App& app, Command& chosen);
void add_knn_command(CLI::App& app, Command& chosen);
void add_features_command(CLI::App& app, Command& chosen);
void add_report_command(CLI::App& app, Command& chosen);

}  // namespace bigbigan
