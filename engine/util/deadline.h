// Work that may never end.
#pragma once

#include <functional>

namespace bigbigan {

// Runs `work`, which throws nothing, in a thread of its own. Returns whether it has ended within
// `seconds`; if not, the thread stays behind with all that `work` holds.
bool ends_within(double seconds, std::function<void()> work);

}  // namespace bigbigan
