#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "engine/io/vfs.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;
namespace fs = std::filesystem;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

mode_t mode_of(const fs::path& path) {
  struct stat info {};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  return info.st_mode & 0777;
}

}  // namespace

TEST_CASE("vfs: a created file holds what was written, has mode 0600 and is never replaced") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const fs::path path = scratch / "a";
  const auto file = vfs.create(path);
  file->write(bytes_of("hello "));
  file->write({});
  file->write(bytes_of("world"));
  file->sync();
  file->close();
  REQUIRE(read_raw(path) == "hello world");
  REQUIRE(mode_of(path) == 0600);
  require_error([&] { vfs.create(path); }, ExitCode::kCannotCreate, {path.string(), "File exists"});
  REQUIRE(read_raw(path) == "hello world");
  require_error([&] { vfs.create(scratch / "no" / "a"); }, ExitCode::kCannotCreate,
                {"no/a", "No such file or directory"});
}

TEST_CASE("vfs: append creates a file and adds to it, but not through a link") {
  ScratchFolder scratch;
  PosixVfs vfs;
  for (const char* text : {"one", "", "two"}) {
    const auto file = vfs.append(scratch / "log");
    file->write(bytes_of(text));
    file->close();
  }
  REQUIRE(read_raw(scratch / "log") == "onetwo");
  fs::create_symlink(scratch / "log", scratch / "link");
  require_error([&] { vfs.append(scratch / "link"); }, ExitCode::kCannotCreate, {"link"});
}

TEST_CASE("vfs: a full device fails the write with the path and the reason") {
  PosixVfs vfs;
  if (!vfs.exists("/dev/full")) return;
  const auto file = vfs.append("/dev/full");
  require_error([&] { file->write(bytes_of("x")); }, ExitCode::kWriteFailed,
                {"/dev/full", "No space left on device"});
}

TEST_CASE("vfs: a file that is closed cannot be written, synced or closed") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const auto file = vfs.create(scratch / "a");
  file->close();
  const std::string path = (scratch / "a").string();
  require_error([&] { file->write(bytes_of("x")); }, ExitCode::kWriteFailed, {path, "descriptor"});
  require_error([&] { file->sync(); }, ExitCode::kWriteFailed, {path, "descriptor"});
  require_error([&] { file->close(); }, ExitCode::kWriteFailed, {path, "descriptor"});
}

TEST_CASE("vfs: open reads at any offset; past the end it says how much is missing") {
  ScratchFolder scratch;
  PosixVfs vfs;
  write_raw(scratch / "a", "0123456789");
  const auto file = vfs.open(scratch / "a");
  REQUIRE(file->size() == 10);
  std::string part(3, ' ');
  file->read_at(7, std::as_writable_bytes(std::span(part)));
  REQUIRE(part == "789");
  file->read_at(10, {});
  require_error([&] { file->read_at(8, std::as_writable_bytes(std::span(part))); },
                ExitCode::kBadData, {(scratch / "a").string(), "ends at byte 10", "expected 11"});
}

TEST_CASE("vfs: open refuses what is not a regular file, without waiting") {
  ScratchFolder scratch;
  PosixVfs vfs;
  write_raw(scratch / "a", "x");
  fs::create_symlink(scratch / "a", scratch / "link");
  REQUIRE(::mkfifo((scratch / "fifo").c_str(), 0600) == 0);
  const auto refused = [&](const fs::path& path, const char* why) {
    require_error([&] { vfs.open(path); }, ExitCode::kNoInput, {path.string(), why});
  };
  refused(scratch / "link", "not a regular file");
  refused(scratch / "fifo", "is not a regular file");
  refused(scratch.path(), "is not a regular file");
  refused("/dev/null", "is not a regular file");
  refused(scratch / "missing", "No such file or directory");
  refused(scratch / "a" / "b", "Not a directory");
}

TEST_CASE("vfs: exists and list") {
  ScratchFolder scratch;
  PosixVfs vfs;
  REQUIRE(vfs.list(scratch.path()).empty());
  for (const char* name : {"b", "a", "B", ".hidden", "\xc3\xa4"}) write_raw(scratch / name, "");
  REQUIRE(vfs.list(scratch.path()) ==
          std::vector<std::string>{".hidden", "B", "a", "b", "\xc3\xa4"});
  REQUIRE(vfs.exists(scratch / "a"));
  REQUIRE(vfs.exists(scratch.path()));
  REQUIRE_FALSE(vfs.exists(scratch / "c"));
  REQUIRE_FALSE(vfs.exists(scratch / "a" / "c"));
  require_error([&] { vfs.list(scratch / "c"); }, ExitCode::kNoInput,
                {(scratch / "c").string(), "No such file or directory"});
  require_error([&] { vfs.list(scratch / "a"); }, ExitCode::kNoInput, {"Not a directory"});
}

TEST_CASE("vfs: directories are made, synced and removed") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const fs::path directory = scratch / "d";
  vfs.make_directory(directory);
  REQUIRE(mode_of(directory) == 0700);
  require_error([&] { vfs.make_directory(directory); }, ExitCode::kCannotCreate,
                {directory.string(), "File exists"});
  require_error([&] { vfs.make_directory(scratch / "x" / "y"); }, ExitCode::kCannotCreate, {"x/y"});
  vfs.sync_directory(directory);
  require_error([&] { vfs.sync_directory(scratch / "x"); }, ExitCode::kWriteFailed, {"/x"});
  write_raw(directory / "a", "");
  require_error([&] { vfs.remove_directory(directory); }, ExitCode::kWriteFailed,
                {directory.string(), "not empty"});
  vfs.remove_file(directory / "a");
  vfs.remove_directory(directory);
  REQUIRE_FALSE(fs::exists(directory));
  REQUIRE(vfs.free_bytes(scratch.path()) > 0);
  require_error([&] { vfs.free_bytes(directory); }, ExitCode::kWriteFailed, {directory.string()});
}

TEST_CASE("vfs: rename replaces; renaming or removing what is missing fails") {
  ScratchFolder scratch;
  PosixVfs vfs;
  write_raw(scratch / "a", "new");
  write_raw(scratch / "b", "old");
  vfs.rename(scratch / "a", scratch / "b");
  REQUIRE(read_raw(scratch / "b") == "new");
  REQUIRE_FALSE(fs::exists(scratch / "a"));
  require_error([&] { vfs.rename(scratch / "a", scratch / "b"); }, ExitCode::kWriteFailed,
                {(scratch / "b").string(), "No such file or directory"});
  require_error([&] { vfs.remove_file(scratch / "a"); }, ExitCode::kWriteFailed,
                {(scratch / "a").string(), "No such file or directory"});
}

TEST_CASE("vfs: whole files are read up to a limit") {
  ScratchFolder scratch;
  PosixVfs vfs;
  const std::string text("a\0b\n", 4);
  write_raw(scratch / "a", text);
  write_raw(scratch / "empty", "");
  REQUIRE(read_text(vfs, scratch / "a", 4) == text);
  REQUIRE(read_text(vfs, scratch / "empty", 0).empty());
  REQUIRE(read_bytes(vfs, scratch / "a", 100).size() == 4);
  require_error([&] { read_text(vfs, scratch / "a", 3); }, ExitCode::kBadData,
                {(scratch / "a").string(), "4 bytes", "at most 3"});
}

TEST_CASE("vfs: make_directories makes what is missing") {
  ScratchFolder scratch;
  PosixVfs vfs;
  make_directories(vfs, scratch / "a/b/c");
  REQUIRE(fs::is_directory(scratch / "a/b/c"));
  make_directories(vfs, scratch / "a/b/c");
  make_directories(vfs, scratch / "a/d/");
  REQUIRE(fs::is_directory(scratch / "a/d"));
  write_raw(scratch / "file", "");
  require_error([&] { make_directories(vfs, scratch / "file/e"); }, ExitCode::kCannotCreate,
                {"file/e", "Not a directory"});
}

TEST_CASE("vfs: write_file_atomic replaces a file, and leaves nothing behind when it fails") {
  ScratchFolder scratch;
  PosixVfs vfs;
  write_file_atomic(vfs, scratch / "a", "first");
  write_file_atomic(vfs, scratch / "a", bytes_of("second"));
  REQUIRE(read_raw(scratch / "a") == "second");
  REQUIRE(scratch.entries() == 1);
  fs::create_directory(scratch / "d");
  require_error([&] { write_file_atomic(vfs, scratch / "d", "x"); }, ExitCode::kWriteFailed,
                {(scratch / "d").string(), "directory"});
  REQUIRE(scratch.entries() == 2);
}

TEST_CASE("vfs: rename does not replace what is no file") {
  ScratchFolder scratch;
  PosixVfs vfs;
  REQUIRE(::mkfifo((scratch / "fifo").c_str(), 0600) == 0);
  require_error([&] { write_file_atomic(vfs, scratch / "fifo", "x"); }, ExitCode::kWriteFailed,
                {(scratch / "fifo").string(), "FIFO"});
  REQUIRE(fs::is_fifo(scratch / "fifo"));
  REQUIRE(scratch.entries() == 1);
}

TEST_CASE("vfs: temporary names lie in the same directory and differ") {
  const fs::path first = temporary_beside("/x/y.bin"), second = temporary_beside("/x/y.bin");
  REQUIRE(first.parent_path() == "/x");
  REQUIRE(first.string().starts_with("/x/y.bin.tmp-"));
  REQUIRE(first != second);
}
