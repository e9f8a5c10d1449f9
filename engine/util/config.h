// Configuration: a list of named, typed, bounded fields over plain structs, read from TOML and
// overrides.
//
// Nothing is ignored: an unknown, duplicate, ill-typed or out-of-range key is an Error{kConfig},
// and all problems of one source are reported together.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace bigbigan {

// Where two values of a key may meet in one training, because what is computed does not depend on
// it.
enum class MayDiffer : uint8_t {
  kNever,
  kOnResume,    // a run may go on with another
  kAmongRanks,  // and its ranks may have different ones
};

struct ConfigField {
  std::string key;  // "train.batch": section and name
  std::variant<int64_t*, double*, bool*, std::string*, std::vector<int64_t>*> value;
  std::string doc;
  // Of numbers, and of the elements of lists.
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices;  // of strings; empty: any
  MayDiffer may_differ = MayDiffer::kNever;
};

enum class UnknownKeys : uint8_t { kRefuse, kIgnore };

// `source` names the text in messages: a path.
void apply_toml(std::span<const ConfigField> fields, std::string_view text,
                const std::string& source, UnknownKeys unknown = UnknownKeys::kRefuse);
// "train.batch=64", "model.g_channels=[64,32]", "data.path=/x": the value is TOML, or a bare
// string.
void apply_override(std::span<const ConfigField> fields, std::string_view assignment);

// Overrides from the environment, where BIGBIGAN_TRAIN__BATCH=64 stands for train.batch=64. Throws
// Error{kConfig} for another variable BIGBIGAN_*, unless it is one of `others`.
void apply_environment(std::span<const ConfigField> fields,
                       std::span<const std::string_view> others);

// TOML with the documentation of each key as a comment; reading it back gives the same values.
std::string to_toml(std::span<const ConfigField> fields);
// One field's value as TOML.
std::string value_text(const ConfigField& field);
// "train.batch: 64 and 128" for each field that differs; both lists come from the same function.
std::vector<std::string> differences(std::span<const ConfigField> a,
                                     std::span<const ConfigField> b);

}  // namespace bigbigan
