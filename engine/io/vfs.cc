#include "engine/io/vfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <utility>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

using Path = Vfs::Path;

constexpr std::string_view kTemporaryMark = ".tmp-";

[[noreturn]] void fail_errno(ExitCode code, const char* what, const Path& path) {
  const int error = errno;
  fail(code, "{} {}: {}", what, path.string(), std::strerror(error));
}

// The code for something that could not be made: a full or broken disk is a failed write.
ExitCode creation_code() {
  const bool disk = errno == ENOSPC || errno == EDQUOT || errno == EIO;
  return disk ? ExitCode::kWriteFailed : ExitCode::kCannotCreate;
}

Path parent_of(const Path& path) { return path.has_parent_path() ? path.parent_path() : Path("."); }

void remove_quietly(Vfs& vfs, const Path& path) {
  try {
    vfs.remove_file(path);
  } catch (const Error&) {  // the failure that led here is the one to report
  }
}

// Calls a system call again while a signal interrupts it.
template <class Call>
auto retried(const Call& call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

class PosixWritableFile final : public WritableFile {
 public:
  PosixWritableFile(int fd, Path path) : fd_(fd), path_(std::move(path)) {}
  ~PosixWritableFile() override {
    if (fd_ >= 0) ::close(fd_);
  }

  void write(std::span<const std::byte> bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = retried([&] { return ::write(fd_, bytes.data(), bytes.size()); });
      if (n < 0) fail_errno(ExitCode::kWriteFailed, "write", path_);
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
  }
  void sync() override {
    if (retried([&] { return ::fsync(fd_); }) != 0)
      fail_errno(ExitCode::kWriteFailed, "sync", path_);
  }
  void close() override {
    // Never closed twice: on Linux the descriptor is gone even when close() fails.
    const int fd = std::exchange(fd_, -1);
    if (::close(fd) != 0 && errno != EINTR) fail_errno(ExitCode::kWriteFailed, "close", path_);
  }

 private:
  int fd_;
  Path path_;
};

class PosixReadableFile final : public ReadableFile {
 public:
  PosixReadableFile(int fd, Path path) : fd_(fd), path_(std::move(path)) {}
  ~PosixReadableFile() override { ::close(fd_); }

  void set_size(int64_t size) { size_ = size; }
  [[nodiscard]] int64_t size() const override { return size_; }
  void read_at(int64_t offset, std::span<std::byte> bytes) override {
    const int64_t wanted = offset + static_cast<int64_t>(bytes.size());
    while (!bytes.empty()) {
      const ssize_t n = retried([&] { return ::pread(fd_, bytes.data(), bytes.size(), offset); });
      if (n < 0) fail_errno(ExitCode::kNoInput, "read", path_);
      if (n == 0) {
        fail(ExitCode::kBadData, "{}: ends at byte {}, expected {} at least: the file is truncated",
             path_.string(), offset, wanted);
      }
      offset += n;
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
  }

 private:
  int fd_;
  int64_t size_ = 0;
  Path path_;
};

std::unique_ptr<WritableFile> open_for_writing(const Path& path, int flags) {
  const int fd = retried(
      [&] { return ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW | flags, 0600); });
  if (fd < 0) fail_errno(creation_code(), "create", path);
  return std::make_unique<PosixWritableFile>(fd, path);
}

}  // namespace

std::unique_ptr<WritableFile> PosixVfs::create(const Path& path) {
  return open_for_writing(path, O_CREAT | O_EXCL);
}

std::unique_ptr<WritableFile> PosixVfs::append(const Path& path) {
  return open_for_writing(path, O_CREAT | O_APPEND);
}

std::unique_ptr<ReadableFile> PosixVfs::open(const Path& path) {
  // O_NONBLOCK: opening a FIFO must not hang.
  const int fd =
      retried([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); });
  if (fd < 0) {
    const char* hint = errno == ELOOP ? "open (not a regular file, or too many links)" : "open";
    fail_errno(ExitCode::kNoInput, hint, path);
  }
  auto file = std::make_unique<PosixReadableFile>(fd, path);
  struct stat info {};
  if (::fstat(fd, &info) != 0) fail_errno(ExitCode::kNoInput, "stat", path);
  if (!S_ISREG(info.st_mode)) {
    fail(ExitCode::kNoInput, "open {}: is not a regular file", path.string());
  }
  file->set_size(info.st_size);
  return file;
}

bool PosixVfs::exists(const Path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  fail_errno(ExitCode::kNoInput, "look for", path);
}

bool PosixVfs::is_directory(const Path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) return S_ISDIR(info.st_mode);
  if (errno == ENOENT || errno == ENOTDIR) return false;
  fail_errno(ExitCode::kNoInput, "look for", path);
}

std::vector<std::string> PosixVfs::list(const Path& directory) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
  if (!dir) fail_errno(ExitCode::kNoInput, "list", directory);
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
    errno = 0;
  }
  if (errno != 0) fail_errno(ExitCode::kNoInput, "list", directory);
  std::sort(names.begin(), names.end());
  return names;
}

void PosixVfs::make_directory(const Path& path) {
  if (::mkdir(path.c_str(), 0700) != 0) fail_errno(creation_code(), "create directory", path);
}

void PosixVfs::rename(const Path& from, const Path& to) {
  struct stat target {};
  const bool exists = ::lstat(to.c_str(), &target) == 0;
  if (exists && !S_ISREG(target.st_mode) && !S_ISDIR(target.st_mode) && !S_ISLNK(target.st_mode)) {
    fail(ExitCode::kWriteFailed,
         "rename to {}: a device, FIFO or socket is there; it is not replaced", to.string());
  }
  if (::rename(from.c_str(), to.c_str()) != 0) fail_errno(ExitCode::kWriteFailed, "rename to", to);
}

void PosixVfs::remove_file(const Path& path) {
  if (::unlink(path.c_str()) != 0) fail_errno(ExitCode::kWriteFailed, "remove", path);
}

void PosixVfs::remove_directory(const Path& path) {
  if (::rmdir(path.c_str()) != 0) fail_errno(ExitCode::kWriteFailed, "remove directory", path);
}

void PosixVfs::sync_directory(const Path& path) {
  const int fd = retried([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
  if (fd < 0) fail_errno(ExitCode::kWriteFailed, "sync directory", path);
  const int result = retried([&] { return ::fsync(fd); });
  const int error = errno;
  ::close(fd);
  errno = error;
  if (result != 0) fail_errno(ExitCode::kWriteFailed, "sync directory", path);
}

int64_t PosixVfs::free_bytes(const Path& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0)
    fail_errno(ExitCode::kWriteFailed, "free space of", path);
  return static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
}

std::vector<std::byte> read_bytes(Vfs& vfs, const Path& path, int64_t max_bytes) {
  const auto file = vfs.open(path);
  if (file->size() > max_bytes) {
    fail(ExitCode::kBadData, "{}: {} bytes, expected at most {}", path.string(), file->size(),
         max_bytes);
  }
  std::vector<std::byte> bytes(static_cast<size_t>(file->size()));
  file->read_at(0, bytes);
  return bytes;
}

std::string read_text(Vfs& vfs, const Path& path, int64_t max_bytes) {
  const std::vector<std::byte> bytes = read_bytes(vfs, path, max_bytes);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void make_directories(Vfs& vfs, const Path& path) {
  if (path.empty() || vfs.exists(path)) return;
  make_directories(vfs, path.parent_path());
  if (!path.has_filename()) return;  // "a/b/": its parent "a/b" was the directory meant
  try {
    vfs.make_directory(path);
  } catch (const Error&) {
    if (!vfs.exists(path)) throw;  // another process was faster
  }
  vfs.sync_directory(parent_of(path));
}

Path temporary_beside(const Path& path) {
  Path temporary = path;
  temporary += std::string(kTemporaryMark) + std::to_string(::getpid()) + "-" +
               std::to_string(std::random_device{}());
  return temporary;
}

bool is_temporary_name(std::string_view name) {
  const size_t mark = name.rfind(kTemporaryMark);
  if (mark == std::string_view::npos) return false;
  const std::string_view tail = name.substr(mark + kTemporaryMark.size());
  return !tail.empty() && tail.find_first_not_of("0123456789-") == std::string_view::npos;
}

void write_file_atomic(Vfs& vfs, const Path& path, std::span<const std::byte> bytes) {
  const Path temporary = temporary_beside(path);
  const auto file = vfs.create(temporary);
  try {
    file->write(bytes);
    file->sync();
    file->close();
    vfs.rename(temporary, path);
  } catch (const Error&) {
    remove_quietly(vfs, temporary);
    throw;
  }
  vfs.sync_directory(parent_of(path));
}

void write_file_atomic(Vfs& vfs, const Path& path, std::string_view text) {
  write_file_atomic(vfs, path, std::as_bytes(std::span(text)));
}

}  // namespace bigbigan
