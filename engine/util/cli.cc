#include "engine/util/cli.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "engine/util/text.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

std::string did_you_mean(const std::string& name, const std::vector<std::string>& known) {
  const std::string nearest = nearest_name(name, known);
  return nearest.empty() ? "" : fmt::format(" (did you mean {}?)", nearest);
}

std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> flags;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
  }
  return flags;
}

// The subcommand that was given, or the program.
const CLI::App& chosen(const CLI::App& app) {
  const auto given = app.get_subcommands();
  return given.empty() ? app : *given.front();
}

void print_unexpected(const CLI::App& app) {
  const CLI::App& command = chosen(app);
  std::vector<std::string> subcommands;
  for (const CLI::App* sub : command.get_subcommands({})) subcommands.push_back(sub->get_name());
  for (const std::string& argument : app.remaining(true)) {
    const bool is_flag = argument.starts_with("-");
    const std::string name = argument.substr(0, is_flag ? argument.find('=') : std::string::npos);
    fmt::print(stderr, "{}: error: unexpected argument {}{}\n", app.get_name(), argument,
               did_you_mean(name, is_flag ? flags_of(command) : subcommands));
  }
}

CLI::Validator in_range(int64_t min, int64_t max) {
  const std::string expected = max == INT64_MAX ? fmt::format("an integer of at least {}", min)
                                                : fmt::format("an integer from {} to {}", min, max);
  const auto validate = [=](const std::string& text) -> std::string {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool good = error == std::errc() && end == text.data() + text.size() && min <= value && value <= max;
    return good ? "" : fmt::format("is {}, expected {}", text, expected);
  };
  return CLI::Validator(validate, "", "range");
}

}  // namespace

std::string version_text(const std::string& program) {
#if defined(__clang__)
  constexpr const char* kCompiler = "clang++ " __clang_version__;
#else
  constexpr const char* kCompiler = "g++ " __VERSION__;
#endif
  return fmt::format("{} {} ({}, CPU)", program, BIGBIGAN_VERSION, kCompiler);
}

std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv) {
  app.set_version_flag("--version", version_text(app.get_name()), "print the version and exit");
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& e) {
    const bool unexpected = !app.remaining(true).empty();
    if (unexpected) print_unexpected(app);
    if (!unexpected || dynamic_cast<const CLI::ExtrasError*>(&e) == nullptr) {
      fmt::print(stderr, "{}: error: {}\n", app.get_name(), e.what());
    }
    const CLI::App& command = chosen(app);
    const std::string path = &command == &app ? "" : " " + command.get_name();
    fmt::print(stderr, "{}{} --help shows what is expected\n", app.get_name(), path);
    return static_cast<int>(ExitCode::kUsage);
  }
}

CLI::Option* add_integer(CLI::App& app, const std::string& names, int64_t& value,
                         const std::string& help, int64_t min, int64_t max) {
  return app.add_option(names, value, help)
      ->check(in_range(min, max))
      ->type_name("N")
      ->capture_default_str();
}

CLI::Option* add_choice(CLI::App& app, const std::string& names, std::string& value,
                        const std::string& help, const std::vector<std::string>& choices) {
  const auto validate = [choices](const std::string& text) -> std::string {
    if (std::find(choices.begin(), choices.end(), text) != choices.end()) return "";
    return fmt::format("is {}, expected {}{}", text, fmt::join(choices, " or "), did_you_mean(text, choices));
  };
  return app.add_option(names, value, help)
      ->check(CLI::Validator(validate, "", "choice"))
      ->type_name(fmt::format("{}", fmt::join(choices, "|")))
      ->capture_default_str();
}

std::vector<std::string> split_choices(const std::string& list, const std::string& option,
                                       const std::vector<std::string>& choices) {
  std::vector<std::string> items;
  for (size_t begin = 0; begin <= list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    items.push_back(list.substr(begin, end - begin));
    const std::string& item = items.back();
    if (std::find(choices.begin(), choices.end(), item) == choices.end()) {
      fail(ExitCode::kUsage, "{}: '{}' is not one of {}{}", option, item, fmt::join(choices, ", "),
           did_you_mean(item, choices));
    }
    begin = end + 1;
  }
  return items;
}

}  // namespace bigbigan
