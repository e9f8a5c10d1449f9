#include "kernels/common/view.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace bigbigan {

std::string to_string(const Shape& shape) { return fmt::format("({})", fmt::join(shape.dims(), ",")); }

}  // namespace bigbigan
