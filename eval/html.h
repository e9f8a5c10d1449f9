// Pieces of an HTML page that needs no other file.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace bigbigan {

// & < > " as entities; control characters other than tab and newline as U+FFFD.
std::string html_escape(std::string_view text);
std::string base64(std::span<const std::byte> bytes);
// <img> with the PNG inside.
std::string inline_png(std::span<const std::byte> png, std::string_view alternative);

}  // namespace bigbigan
