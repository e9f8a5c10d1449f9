#include "engine/world/progress_table.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "engine/io/flat_json.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr size_t kRecordBytes = 512;  // one write, padded: a reader sees an old record or a new one

}  // namespace

ProgressTable::ProgressTable(std::filesystem::path folder, int rank) : folder_(std::move(folder)) {
  const std::filesystem::path file = file_of(rank);
  fd_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0) {
    fail(ExitCode::kCannotCreate, "create {}: {}", file.string(), std::strerror(errno));
  }
}

ProgressTable::~ProgressTable() { ::close(fd_); }

std::filesystem::path ProgressTable::file_of(int rank) const {
  return folder_ / fmt::format("rank-{:05}", rank);
}

void ProgressTable::write(const RankProgress& p) const {
  std::string record = to_json({{"collective", p.collective},
                                {"is_waiting", p.is_waiting},
                                {"name", p.name},
                                {"bytes", p.bytes},
                                {"step", p.step},
                                {"phase", p.phase},
                                {"process", p.process},
                                {"written", p.written_seconds}});
  record.resize(kRecordBytes - 1, ' ');
  record += '\n';
  [[maybe_unused]] const ssize_t n = ::pwrite(fd_, record.data(), record.size(), 0);
}

std::optional<RankProgress> ProgressTable::read(int rank) const {
  const std::filesystem::path file = file_of(rank);
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return std::nullopt;
  std::array<char, kRecordBytes> record{};
  const ssize_t n = ::pread(fd, record.data(), record.size(), 0);
  ::close(fd);
  try {
    const std::string source = file.string();
    const FlatJson json =
        parse_flat_json({record.data(), n > 0 ? static_cast<size_t>(n) : 0}, source);
    return RankProgress{.collective = json_get<int64_t>(json, "collective", source),
                        .is_waiting = json_get<bool>(json, "is_waiting", source),
                        .name = json_get<std::string>(json, "name", source),
                        .bytes = json_get<int64_t>(json, "bytes", source),
                        .step = json_get<int64_t>(json, "step", source),
                        .phase = json_get<std::string>(json, "phase", source),
                        .process = json_get<std::string>(json, "process", source),
                        .written_seconds = json_get<double>(json, "written", source)};
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace bigbigan
