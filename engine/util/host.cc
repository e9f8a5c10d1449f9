#include "engine/util/host.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>

namespace bigbigan {

std::string host_name() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) return "unknown host";
  return host.data();
}

std::string process_name() { return fmt::format("pid {} on {}", ::getpid(), host_name()); }

}  // namespace bigbigan
