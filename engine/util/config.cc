#include "engine/util/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "engine/util/text.h"
#include "engine/util/toml.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr size_t kMaxBytes = 1 << 20;
// Deeply dotted keys overflow the parser's stack. All dots of a line count: where a key ends cannot
// be told without a parser ("="."=" is a key).
constexpr int kMaxDots = 64;

// What is wrong with one source, to be reported together.
class Problems {
 public:
  explicit Problems(std::string source) : source_(std::move(source)) {}
  void add(const std::string& problem) {
    if (++count_ <= kMaxProblems) text_ += "\n  " + problem;
  }
  // Whether another problem would only be counted.
  [[nodiscard]] bool is_full() const { return count_ >= kMaxProblems; }
  void throw_if_any() const {
    if (count_ == 0) return;
    const std::string rest =
        count_ > kMaxProblems ? fmt::format("\n  and {} more", count_ - kMaxProblems) : "";
    fail(ExitCode::kConfig, "configuration {}:{}{}", source_, text_, rest);
  }

 private:
  static constexpr int kMaxProblems = 50;
  std::string source_, text_;
  int count_ = 0;
};

// The value of a node as an integer list, or nothing.
std::optional<std::vector<int64_t>> integers(const toml::node& node) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return std::nullopt;
  std::vector<int64_t> values;
  for (const toml::node& element : *array) {
    if (!element.is_integer()) return std::nullopt;
    values.push_back(**element.as_integer());
  }
  return values;
}

std::string range_text(const ConfigField& field) {
  if (std::isinf(field.min) && std::isinf(field.max)) return "any number";
  if (std::isinf(field.max)) return fmt::format("at least {}", field.min);
  return fmt::format("a number in [{}, {}]", field.min, field.max);
}

bool in_range(const ConfigField& field, double value) {
  return value >= field.min && value <= field.max;
}

// Empty, or what was expected instead.
std::string assign(const ConfigField& field, const toml::node& node) {
  const auto set = [&](auto* target) -> std::string {
    using T = std::remove_pointer_t<decltype(target)>;
    if constexpr (std::is_same_v<T, bool>) {
      if (!node.is_boolean()) return "true or false";
      *target = **node.as_boolean();
    } else if constexpr (std::is_same_v<T, int64_t>) {
      if (!node.is_integer()) return "an integer";
      const int64_t value = **node.as_integer();
      if (!in_range(field, static_cast<double>(value))) return range_text(field);
      *target = value;
    } else if constexpr (std::is_same_v<T, double>) {
      if (!node.is_number()) return "a number";
      const double value =
          node.is_integer() ? static_cast<double>(**node.as_integer()) : **node.as_floating_point();
      if (!std::isfinite(value) || !in_range(field, value)) return range_text(field);
      *target = value;
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!node.is_string()) return "a string in quotes";
      const std::string value = **node.as_string();
      if (!field.choices.empty() &&
          std::find(field.choices.begin(), field.choices.end(), value) == field.choices.end()) {
        return fmt::format("one of {}", fmt::join(field.choices, ", "));
      }
      *target = value;
    } else {
      const auto values = integers(node);
      if (!values) return "a list of integers";
      for (const int64_t v : *values) {
        if (!in_range(field, static_cast<double>(v)))
          return "a list with elements of " + range_text(field);
      }
      *target = *values;
    }
    return {};
  };
  return std::visit(set, field.value);
}

std::string shortened(std::string text) {
  constexpr size_t kMaxShown = 100;
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return text;
}

std::string text_of(const toml::node& node) {
  std::ostringstream out;
  node.visit([&](const auto& value) { out << value; });
  return shortened(out.str());
}

const ConfigField* find(std::span<const ConfigField> fields, std::string_view key) {
  const auto found = std::find_if(fields.begin(), fields.end(),
                                  [&](const ConfigField& f) { return f.key == key; });
  return found == fields.end() ? nullptr : &*found;
}

std::string suggestion(std::span<const ConfigField> fields, const std::string& key) {
  std::vector<std::string> keys;
  for (const ConfigField& f : fields) keys.push_back(f.key);
  const std::string nearest = nearest_name(key, keys);
  return nearest.empty() ? "" : fmt::format("; did you mean {}?", nearest);
}

// Reads one table into the fields; `prefix` is its own key with a dot.
class TableReader {
 public:
  TableReader(std::span<const ConfigField> fields, UnknownKeys unknown, Problems& problems)
      : fields_(fields), unknown_(unknown), problems_(problems) {}

  void read(const toml::table& table, const std::string& prefix) {
    for (const auto& [name, node] : table) {
      const std::string key = prefix + std::string(name.str());
      const toml::table* inner = node.as_table();
      // A quoted "a.b" is not the key b of table a.
      const bool is_quoted_path = name.str().find('.') != std::string_view::npos;
      if (is_quoted_path || (inner != nullptr && inner->empty() && !is_section(key))) {
        refuse(key, node);
      } else if (inner != nullptr) {
        read(*inner, key + ".");
      } else {
        read_value(key, node);
      }
    }
  }

 private:
  [[nodiscard]] bool is_section(const std::string& key) const {
    return std::any_of(fields_.begin(), fields_.end(),
                       [&](const ConfigField& f) { return f.key.starts_with(key + "."); });
  }

  void refuse(const std::string& key, const toml::node& node) {
    if (unknown_ == UnknownKeys::kIgnore) return;
    const std::string hint = problems_.is_full() ? "" : suggestion(fields_, key);  // not for free
    problems_.add(
        fmt::format("line {}: unknown key {}{}", node.source().begin.line, shortened(key), hint));
  }

  void read_value(const std::string& key, const toml::node& node) {
    const ConfigField* field = find(fields_, key);
    if (field == nullptr) return refuse(key, node);
    const std::string expected = assign(*field, node);
    if (expected.empty()) return;
    problems_.add(fmt::format("line {}: {} is {}, expected {}", node.source().begin.line, key,
                              text_of(node), expected));
  }

  std::span<const ConfigField> fields_;
  UnknownKeys unknown_;
  Problems& problems_;
};

void check_text(std::string_view text, const std::string& source) {
  if (text.size() > kMaxBytes) {
    fail(ExitCode::kConfig, "configuration {}: {} bytes, expected at most {}", source, text.size(),
         kMaxBytes);
  }
  int dots = 0;
  for (const char c : text) {
    dots = c == '\n' ? 0 : dots + (c == '.' ? 1 : 0);
    if (dots > kMaxDots) {
      fail(ExitCode::kConfig, "configuration {}: a line with more than {} dots", source, kMaxDots);
    }
  }
}

toml::table parse(std::string_view text, const std::string& source) {
  check_text(text, source);
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& e) {
    fail(ExitCode::kConfig, "configuration {}: line {}: {}", source, e.source().begin.line,
         e.description());
  } catch (const std::invalid_argument& e) {
    fail(ExitCode::kConfig, "configuration {}: not TOML: {}", source, e.what());
  }
}

// A basic TOML string.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

std::string number_text(double value) {
  std::string text = fmt::format("{}", value);  // the shortest that reads back exactly
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

void apply_toml(std::span<const ConfigField> fields, std::string_view text,
                const std::string& source, UnknownKeys unknown) {
  Problems problems(source);
  TableReader(fields, unknown, problems).read(parse(text, source), "");
  problems.throw_if_any();
}

void apply_override(std::span<const ConfigField> fields, std::string_view assignment) {
  const size_t equals = assignment.find('=');
  const std::string source = fmt::format("argument {}", shortened(std::string(assignment)));
  if (equals == std::string_view::npos) {
    fail(ExitCode::kConfig, "{}: expected key=value", source);
  }
  const std::string key(assignment.substr(0, equals));
  const ConfigField* field = find(fields, key);
  if (field == nullptr) {
    fail(ExitCode::kConfig, "{}: unknown key {}{}", source, key, suggestion(fields, key));
  }
  std::string value(assignment.substr(equals + 1));
  const bool is_bare_string = std::holds_alternative<std::string*>(field->value) &&
                              (value.empty() || (value[0] != '"' && value[0] != '\''));
  if (is_bare_string) value = quoted(value);
  const toml::table table = parse("value = " + value, source);
  const toml::node* node = table.get("value");
  if (node == nullptr || table.size() != 1) fail(ExitCode::kConfig, "{}: not one value", source);
  const std::string expected = assign(*field, *node);
  if (!expected.empty()) fail(ExitCode::kConfig, "{}: {} expects {}", source, key, expected);
}

void apply_environment(std::span<const ConfigField> fields,
                       std::span<const std::string_view> others) {
  constexpr std::string_view kPrefix = "BIGBIGAN_";
  std::string problems;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::string_view name = text.substr(0, text.find('='));
    if (!name.starts_with(kPrefix) || std::find(others.begin(), others.end(), name) != others.end())
      continue;
    std::string key(name.substr(kPrefix.size()));
    if (const size_t separator = key.find("__"); separator != std::string::npos)
      key.replace(separator, 2, ".");
    std::transform(key.begin(), key.end(), key.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    try {
      apply_override(fields, key + std::string(text.substr(name.size())));
    } catch (const Error& e) {
      problems += fmt::format("{}environment variable {}: {}", problems.empty() ? "" : "\n", name,
                              e.what());
    }
  }
  if (!problems.empty()) throw Error(ExitCode::kConfig, problems);
}

std::string value_text(const ConfigField& field) {
  return std::visit(
      [](const auto* value) -> std::string {
        using T = std::remove_cv_t<std::remove_pointer_t<decltype(value)>>;
        if constexpr (std::is_same_v<T, bool>)
          return *value ? "true" : "false";
        else if constexpr (std::is_same_v<T, int64_t>)
          return fmt::format("{}", *value);
        else if constexpr (std::is_same_v<T, double>)
          return number_text(*value);
        else if constexpr (std::is_same_v<T, std::string>)
          return quoted(*value);
        else
          return fmt::format("[{}]", fmt::join(*value, ", "));
      },
      field.value);
}

std::string to_toml(std::span<const ConfigField> fields) {
  std::string text, section;
  for (const ConfigField& field : fields) {
    const size_t dot = field.key.rfind('.');
    const std::string own = field.key.substr(0, dot);
    if (own != section) {
      text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", own);
      section = own;
    }
    text += fmt::format("# {}\n{} = {}\n", field.doc, field.key.substr(dot + 1), value_text(field));
  }
  return text;
}

std::vector<std::string> differences(std::span<const ConfigField> a,
                                     std::span<const ConfigField> b) {
  std::vector<std::string> list;
  for (size_t i = 0; i < a.size(); ++i) {
    const std::string left = value_text(a[i]), right = value_text(b[i]);
    if (left != right) list.push_back(fmt::format("{}: {} and {}", a[i].key, left, right));
  }
  return list;
}

}  // namespace bigbigan
