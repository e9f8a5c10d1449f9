#include "engine/util/fault.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "engine/util/program.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

[[noreturn]] void refuse(std::string_view text) {
  fail(ExitCode::kConfig,
       "BIGBIGAN_FAULT={}: expected kind@rank:step[:n] with kind nan, enospc, drift, skip, kill, "
       "segv, stop, loop, throw, memory, exit or exit3, and n >= 1",
       text);
}

// Cuts off what precedes `separator`, or all that is left.
std::string_view take(std::string_view& rest, char separator) {
  const size_t at = rest.find(separator);
  const std::string_view part = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return part;
}

// The soft limit of a resource of this process; nothing: as high as may be.
void set_limit(decltype(RLIMIT_AS) resource, std::optional<rlim_t> soft) {
  rlimit limit{};
  check(::getrlimit(resource, &limit) == 0, "fault: no limit of resource {}", int{resource});
  limit.rlim_cur = soft.value_or(limit.rlim_max);
  check(::setrlimit(resource, &limit) == 0, "fault: resource {} is not limited", int{resource});
}

[[noreturn]] void run_out_of_memory() {
  set_limit(RLIMIT_AS, 0);
  const void* memory = ::operator new (size_t{1} << 30);
  fail(ExitCode::kInternal, "fault: there is memory without limit, at {}", memory);
}

}  // namespace

Fault Fault::from_environment(int rank) {
  const char* text = std::getenv("BIGBIGAN_FAULT");
  if (text == nullptr) return {};
  if (rank == 0) note(fmt::format("fault injection is on: BIGBIGAN_FAULT={}", text));
  return {text, rank};
}

Fault::Fault(std::string_view text, int rank) {
  std::string_view rest = text;
  const std::string_view kind = take(rest, '@');
  const auto number = [&](char separator) {
    const std::string_view part = take(rest, separator);
    int64_t value = -1;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    if (error != std::errc() || end != part.data() + part.size() || value < 0) refuse(text);
    return value;
  };
  const bool is_mine = number(':') == rank;
  first_ = number(':');
  if (!rest.empty()) n_ = number('\n');
  if (n_ < 1) refuse(text);
  const Kind known = kind_of(kind);
  if (known == Kind::kNone) refuse(text);
  if (is_mine) kind_ = known;
}

Fault::Kind Fault::kind_of(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, Kind>, 12> kNames = {{{"nan", Kind::kNan},
                                                                         {"enospc", Kind::kEnospc},
                                                                         {"drift", Kind::kDrift},
                                                                         {"skip", Kind::kSkip},
                                                                         {"kill", Kind::kKill},
                                                                         {"segv", Kind::kSegv},
                                                                         {"stop", Kind::kStop},
                                                                         {"loop", Kind::kLoop},
                                                                         {"throw", Kind::kThrow},
                                                                         {"memory", Kind::kMemory},
                                                                         {"exit", Kind::kExit},
                                                                         {"exit3", Kind::kExit3}}};
  for (const auto& [known, kind] : kNames) {
    if (known == name) return kind;
  }
  return Kind::kNone;
}

void Fault::strike(int64_t step, int64_t point) const {
  if (step != first_ || point != n_) return;
  switch (kind_) {
    case Kind::kKill:
      std::raise(SIGKILL);
      return;
    case Kind::kSegv:
      std::raise(SIGSEGV);
      return;
    case Kind::kStop:
      std::raise(SIGSTOP);
      return;
    case Kind::kLoop:
      for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));
    case Kind::kThrow:
      fail(ExitCode::kSystem, "step {}: an error by fault injection", step);
    case Kind::kMemory:
      run_out_of_memory();
    case Kind::kExit:
      _exit(0);
    case Kind::kExit3:
      _exit(3);
    default:
      return;
  }
}

void Fault::maybe_fill_disk(int64_t step) const {
  constexpr rlim_t kBytes = 16384;
  if (kind_ != Kind::kEnospc) return;
  set_limit(RLIMIT_FSIZE, covers(step) ? std::optional(kBytes) : std::nullopt);
}

}  // namespace bigbigan
