// JSON objects without nesting: lines of stats.jsonl and state.json.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace bigbigan {

using JsonValue = std::variant<std::nullptr_t, bool, int64_t, double, std::string>;
// Keys in order of writing.
using FlatJson = std::vector<std::pair<std::string, JsonValue>>;

// One line; doubles in shortest exact form, NaN and Inf as null.
std::string to_json(const FlatJson& object);

// Throws Error{kBadData}, naming `source`: not one flat object, a key twice, more than
// 1000 keys.
FlatJson parse_flat_json(std::string_view text, const std::string& source);

// Value of a key, or null where it is missing.
const JsonValue* json_find(const FlatJson& object, std::string_view key);

// Value of a key as T; throws Error{kBadData} when it is missing or of another type. An integer
// serves as a double.
template <class T>
T json_get(const FlatJson& object, std::string_view key, const std::string& source);

}  // namespace bigbigan
