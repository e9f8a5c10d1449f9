#include "engine/io/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "engine/util/host.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

std::string read_all(int fd) {
  std::array<char, 512> text{};
  const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
  return {text.data(), n > 0 ? static_cast<size_t>(n) : 0};
}

// Takes the lock and writes the owner, or throws; does not close.
void take(int fd, const Vfs::Path& path) {
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) {
      fail(ExitCode::kCannotCreate, "lock {}: {}", path.string(), std::strerror(errno));
    }
    const std::string owner = read_all(fd);
    fail(ExitCode::kCannotCreate,
         "{}: another process{} trains in this run directory; wait for it, or give another "
         "--run-dir",
         path.parent_path().string(), owner.empty() ? "" : " (" + owner + ")");
  }
  const std::string owner = process_name();
  if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, owner.data(), owner.size(), 0) < 0) {
    fail(ExitCode::kWriteFailed, "write {}: {}", path.string(), std::strerror(errno));
  }
}

}  // namespace

RunLock::RunLock(const Vfs::Path& run) {
  const Vfs::Path path = run / kFile;
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0) {
    fail(ExitCode::kCannotCreate, "create {}: {}", path.string(), std::strerror(errno));
  }
  try {
    take(fd_, path);
  } catch (const Error&) {
    ::close(fd_);
    throw;
  }
}

RunLock::~RunLock() { ::close(fd_); }

}  // namespace bigbigan
