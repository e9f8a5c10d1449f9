#include "engine/util/fault.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <charconv>
#include <csignal>
#include <cstdlib>

#include "engine/util/program.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

[[noreturn]] void refuse(std::string_view text) {
  fail(ExitCode::kConfig,
       "BIGBIGAN_FAULT={}: expected kind@rank:step[:n] with kind nan, kill or enospc and n >= 1",
       text);
}

// Cuts off what precedes `separator`, or all that is left.
std::string_view take(std::string_view& rest, char separator) {
  const size_t at = rest.find(separator);
  const std::string_view part = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return part;
}

}  // namespace

Fault Fault::from_environment(int rank) {
  const char* text = std::getenv("BIGBIGAN_FAULT");
  if (text == nullptr) return {};
  note(fmt::format("fault injection is on: BIGBIGAN_FAULT={}", text));
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
  const Kind known = kind == "nan"      ? Kind::kNan
                     : kind == "kill"   ? Kind::kKill
                     : kind == "enospc" ? Kind::kEnospc
                                        : Kind::kNone;
  if (known == Kind::kNone) refuse(text);
  if (is_mine) kind_ = known;
}

void Fault::maybe_kill(int64_t step, int64_t point) const {
  if (kind_ == Kind::kKill && step == first_ && point == n_) std::raise(SIGKILL);
}

void Fault::maybe_fill_disk(int64_t step) const {
  constexpr rlim_t kBytes = 16384;
  if (kind_ != Kind::kEnospc) return;
  rlimit limit{};
  check(::getrlimit(RLIMIT_FSIZE, &limit) == 0, "fault: no limit of file sizes");
  limit.rlim_cur = covers(step) ? kBytes : limit.rlim_max;
  check(::setrlimit(RLIMIT_FSIZE, &limit) == 0, "fault: file sizes could not be limited");
}

}  // namespace bigbigan
