// What this process is called in messages to people.
#pragma once

#include <string>

namespace bigbigan {

std::string host_name();
// "pid 12 on host"
std::string process_name();

}  // namespace bigbigan
