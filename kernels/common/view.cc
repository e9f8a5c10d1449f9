#include "kernels/common/view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace bigbigan {

std::string to_string(const Shape& shape) {
  return fmt::format("({})", fmt::join(shape.dims(), ","));
}

}  // namespace bigbigan

fmt::format_context::iterator fmt::formatter<bigbigan::Shape>::format(
    const bigbigan::Shape& shape, fmt::format_context& ctx) const {
  return fmt::formatter<std::string_view>::format(to_string(shape), ctx);
}
