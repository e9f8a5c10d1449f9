// Every byte the project reads or writes goes through a Vfs: the real file system, or a test's
// fault injector or power-loss simulator in its place.
//
// All functions throw Error naming the path and the errno text: kNoInput when something to read is
// missing or unreadable, kWriteFailed when a write, sync, rename or removal fails, kCannotCreate
// when a directory or lock cannot be made. EINTR and short transfers are retried inside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bigbigan {

class WritableFile {
 public:
  // Closes without reporting: call close() for a file that matters.
  virtual ~WritableFile() = default;
  virtual void write(std::span<const std::byte> bytes) = 0;
  virtual void sync() = 0;   // fsync
  virtual void close() = 0;  // checked close
};

class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  [[nodiscard]] virtual int64_t size() const = 0;
  // Fills `bytes` from `offset`; throws Error{kBadData} when the file ends before.
  virtual void read_at(int64_t offset, std::span<std::byte> bytes) = 0;
};

class Vfs {
 public:
  virtual ~Vfs() = default;
  using Path = std::filesystem::path;

  // A new file, mode 0600; fails when `path` exists.
  virtual std::unique_ptr<WritableFile> create(const Path& path) = 0;
  // Appends to `path`, creating it when absent.
  virtual std::unique_ptr<WritableFile> append(const Path& path) = 0;
  // A regular file for reading; refuses links in the last component, FIFOs, devices and
  // directories.
  virtual std::unique_ptr<ReadableFile> open(const Path& path) = 0;
  virtual bool exists(const Path& path) = 0;
  // A directory itself, not a link to one; false when there is nothing.
  virtual bool is_directory(const Path& path) = 0;
  // Names (not paths) in a directory, sorted bytewise.
  virtual std::vector<std::string> list(const Path& directory) = 0;
  virtual void make_directory(const Path& path) = 0;  // mode 0700; parents must exist
  virtual void rename(const Path& from, const Path& to) = 0;
  virtual void remove_file(const Path& path) = 0;
  virtual void remove_directory(const Path& path) = 0;  // must be empty
  virtual void sync_directory(const Path& path) = 0;
  virtual int64_t free_bytes(const Path& path) = 0;
};

// The operating system's file system.
class PosixVfs final : public Vfs {
 public:
  std::unique_ptr<WritableFile> create(const Path& path) override;
  std::unique_ptr<WritableFile> append(const Path& path) override;
  std::unique_ptr<ReadableFile> open(const Path& path) override;
  bool exists(const Path& path) override;
  bool is_directory(const Path& path) override;
  std::vector<std::string> list(const Path& directory) override;
  void make_directory(const Path& path) override;
  void rename(const Path& from, const Path& to) override;
  void remove_file(const Path& path) override;
  void remove_directory(const Path& path) override;
  void sync_directory(const Path& path) override;
  int64_t free_bytes(const Path& path) override;
};

// Helpers over any Vfs.
std::string read_text(Vfs& vfs, const Vfs::Path& path, int64_t max_bytes);
std::vector<std::byte> read_bytes(Vfs& vfs, const Vfs::Path& path, int64_t max_bytes);
// Creates the missing parents of `path` and `path` itself, durably.
void make_directories(Vfs& vfs, const Vfs::Path& path);
// Replaces `path` atomically: temporary file in the same directory, sync, rename, sync of the
// directory.
void write_file_atomic(Vfs& vfs, const Vfs::Path& path, std::span<const std::byte> bytes);
void write_file_atomic(Vfs& vfs, const Vfs::Path& path, std::string_view text);
// A name in the same directory that no other process uses: `path`.tmp-<pid>-<random>.
Vfs::Path temporary_beside(const Vfs::Path& path);
// Whether a file name ends as those of temporary_beside do.
bool is_temporary_name(std::string_view name);

}  // namespace bigbigan
