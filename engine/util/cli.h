// What the command lines of all programs share: --version, and how a bad one is answered.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace bigbigan {

// "bigbigan-eval 0.1.0 (g++ 12.2.0, CPU)"; ", CPU and CUDA)" where the build has both.
std::string version_text(const std::string& program);

// Parses the arguments. Returns the code to exit with now: 0 after --help or --version; 64 after a
// bad command line, with every argument that was not expected and the nearest known name on
// standard error. Nothing: go on.
std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv);

// An option with an integer in [min, max]; its default, the value now in `value`, is shown in the
// help.
CLI::Option* add_integer(CLI::App& app, const std::string& names, int64_t& value,
                         const std::string& help, int64_t min, int64_t max = INT64_MAX);
// An option with a finite number above 0; its default is not shown.
CLI::Option* add_positive(CLI::App& app, const std::string& names, double& value,
                          const std::string& help);
// An option with one of `choices`; its default is shown in the help.
CLI::Option* add_choice(CLI::App& app, const std::string& names, std::string& value,
                        const std::string& help, const std::vector<std::string>& choices);

// --device auto|cpu|cuda[:i]: the name of a Device.
CLI::Option* add_device(CLI::App& app, std::string& device);

// "a,b" -> {a, b}; throws Error{kUsage} naming `option` and the nearest choice for a name that is
// not among `choices`, or for an empty list.
std::vector<std::string> split_choices(const std::string& list, const std::string& option,
                                       const std::vector<std::string>& choices);

}  // namespace bigbigan
