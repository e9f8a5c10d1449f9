#include "engine/util/cli.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

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

std::vector<std::string> subcommands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) names.push_back(sub->get_name());
  return names;
}

// What is wrong with the arguments, a line each.
std::vector<std::string> problems_of(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> commands = subcommands_of(app);
  const auto rest = app.get_allow_extras() ? std::vector<std::string>() : app.remaining(true);
  if (app.get_require_subcommand_min() > 0 && app.get_subcommands().empty()) {
    const auto given =
        std::find_if(rest.begin(), rest.end(), [](const auto& a) { return !a.starts_with("-"); });
    const std::string all = fmt::format("{}", fmt::join(commands, ", "));
    if (given == rest.end()) return {"no command; there are: " + all};
    return {fmt::format("unknown command {}{}; there are: {}", *given,
                        did_you_mean(*given, commands), all)};
  }
  std::vector<std::string> problems;
  for (const std::string& argument : rest) {
    const std::string name = argument.substr(0, argument.find('='));
    problems.push_back(fmt::format("unexpected argument {}{}", argument,
                                   did_you_mean(name, flags_of(chosen(app)))));
  }
  const bool is_told = !rest.empty() && dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr;
  if (!is_told) problems.emplace_back(error.what());
  return problems;
}

// Lists a subcommand with the first line of its description.
class Formatter : public CLI::Formatter {
 public:
  std::string make_description(const CLI::App* app) const override {
    return CLI::Formatter::make_description(app) + "\n";
  }
  std::string make_subcommand(const CLI::App* sub) const override {
    const std::string text = sub->get_description();
    std::ostringstream out;
    CLI::detail::format_help(out, sub->get_name(), text.substr(0, text.find('\n')), column_width_);
    return out.str();
  }
};

// Of a text that is a T whole, and one that `is_good`.
template <class T, class IsGood>
CLI::Validator number_check(const std::string& expected, const IsGood& is_good) {
  const auto validate = [=](const std::string& text) -> std::string {
    T value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool good = error == std::errc() && end == text.data() + text.size() && is_good(value);
    return good ? "" : fmt::format("is {}, expected {}", text, expected);
  };
  return CLI::Validator(validate, "", "number");
}

}  // namespace

std::string version_text(const std::string& program) {
#if defined(__clang__)
  constexpr const char* kCompiler = "clang++ " __clang_version__;
#else
  constexpr const char* kCompiler = "g++ " __VERSION__;
#endif
  return fmt::format("{} {} ({}, {})", program, BIGBIGAN_VERSION, kCompiler, BIGBIGAN_BACKENDS);
}

std::optional<int> parse_command_line(CLI::App& app, int argc, char** argv) {
  const auto formatter = std::make_shared<Formatter>();
  app.formatter(formatter);
  for (CLI::App* sub : app.get_subcommands([](CLI::App*) { return true; })) {
    sub->formatter(formatter);
  }
  app.set_version_flag("--version", version_text(app.get_name()), "print the version and exit");
  try {
    app.parse(argc, argv);
    return std::nullopt;
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& e) {
    for (const std::string& problem : problems_of(app, e)) {
      fmt::print(stderr, "{}: error: {}\n", app.get_name(), problem);
    }
    const CLI::App& command = chosen(app);
    const std::string path = &command == &app ? "" : " " + command.get_name();
    fmt::print(stderr, "{}{} --help shows what is expected\n", app.get_name(), path);
    return static_cast<int>(ExitCode::kUsage);
  }
}

CLI::Option* add_integer(CLI::App& app, const std::string& names, int64_t& value,
                         const std::string& help, int64_t min, int64_t max) {
  const std::string expected = max == INT64_MAX ? fmt::format("an integer of at least {}", min)
                                                : fmt::format("an integer from {} to {}", min, max);
  return app.add_option(names, value, help)
      ->check(number_check<int64_t>(expected, [=](int64_t v) { return min <= v && v <= max; }))
      ->type_name("N")
      ->capture_default_str();
}

CLI::Option* add_positive(CLI::App& app, const std::string& names, double& value,
                          const std::string& help) {
  const auto is_good = [](double v) { return v > 0 && std::isfinite(v); };
  return app.add_option(names, value, help)
      ->check(number_check<double>("a number above 0", is_good))
      ->type_name("X");
}

CLI::Option* add_choice(CLI::App& app, const std::string& names, std::string& value,
                        const std::string& help, const std::vector<std::string>& choices) {
  const auto validate = [choices](const std::string& text) -> std::string {
    if (std::find(choices.begin(), choices.end(), text) != choices.end()) return "";
    return fmt::format("is {}, expected {}{}", text, fmt::join(choices, " or "),
                       did_you_mean(text, choices));
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

CLI::Option* add_device(CLI::App& app, std::string& device) {
  return app
      .add_option("--device", device, "cuda[:i], cpu, or auto: the first GPU if there is one")
      ->type_name("DEVICE")
      ->capture_default_str();
}

}  // namespace bigbigan
