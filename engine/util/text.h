// Numbers and names for people.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace bigbigan {

// The candidate nearest to `name` by edit distance, or "" when none is near.
std::string nearest_name(std::string_view name, std::span<const std::string> candidates);
// Control characters other than line ends as \xNN: a file name cannot drive the terminal.
std::string printable(std::string_view text);
// "1,234,567"
std::string format_count(int64_t n);
// "42s", "4m12s", "1h03m", "2d05h"
std::string format_duration(double seconds);
// "640 B", "2.0 KiB", "1.5 GiB".
std::string format_bytes(int64_t bytes);

}  // namespace bigbigan
