#include "engine/io/checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <random>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr std::string_view kFormatLine = "bigbigan-ckpt 1\n";
constexpr std::string_view kManifest = "MANIFEST";
constexpr int64_t kMaxManifestBytes = 1 << 20;

class Hasher {
 public:
  Hasher() : state_(XXH3_createState(), XXH3_freeState) {
    check(state_ != nullptr && XXH3_128bits_reset(state_.get()) == XXH_OK, "checkpoint: no memory");
  }
  void add(std::span<const std::byte> bytes) { XXH3_128bits_update(state_.get(), bytes.data(), bytes.size()); }
  [[nodiscard]] std::string hex() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state_;
};

std::string hash_of(std::string_view text) {
  Hasher hasher;
  hasher.add(std::as_bytes(std::span(text)));
  return hasher.hex();
}

// Hashes what passes through.
class HashingFile final : public WritableFile {
 public:
  explicit HashingFile(WritableFile& file) : file_(file) {}
  void write(std::span<const std::byte> bytes) override {
    file_.write(bytes);
    hasher_.add(bytes);
    bytes_ += static_cast<int64_t>(bytes.size());
  }
  void sync() override { file_.sync(); }
  void close() override { file_.close(); }
  [[nodiscard]] std::string manifest_line(const std::string& name) const {
    return fmt::format("{} {} {}\n", hasher_.hex(), bytes_, name);
  }

 private:
  WritableFile& file_;
  Hasher hasher_;
  int64_t bytes_ = 0;
};

void remove_tree(Vfs& vfs, const Vfs::Path& directory) {
  for (const std::string& name : vfs.list(directory)) vfs.remove_file(directory / name);
  vfs.remove_directory(directory);
}

// Out of sight first, by one rename: an interrupted removal never leaves half a checkpoint under its name.
void discard(Vfs& vfs, const Vfs::Path& run, const Vfs::Path& directory) {
  const Vfs::Path trash =
      run / fmt::format(".trash-{}-{}", directory.filename().string(), std::random_device{}());
  vfs.rename(directory, trash);
  remove_tree(vfs, trash);
}

// Fills the staging directory: every file, then the manifest, all synced.
void fill_staging(Vfs& vfs, const Vfs::Path& staging, std::span<const CheckpointFile> files) {
  std::string manifest(kFormatLine);
  for (const CheckpointFile& file : files) {
    const auto target = vfs.create(staging / file.name);
    HashingFile hashing(*target);
    file.write(hashing);
    target->sync();
    target->close();
    manifest += hashing.manifest_line(file.name);
  }
  manifest += fmt::format("end {}\n", hash_of(manifest));
  const auto target = vfs.create(staging / kManifest);
  target->write(std::as_bytes(std::span(manifest)));
  target->sync();
  target->close();
  vfs.sync_directory(staging);
}

// Clears up after a failed save as far as the file system lets us; the next start does the rest.
void try_remove(Vfs& vfs, const Vfs::Path& staging) {
  try {
    if (vfs.exists(staging)) remove_tree(vfs, staging);
  } catch (const Error&) {
  }
}

std::string hash_of_file(Vfs& vfs, const Vfs::Path& path, int64_t expected_bytes) {
  const auto file = vfs.open(path);
  if (file->size() != expected_bytes) {
    fail(ExitCode::kBadData, "{}: {} bytes, the manifest says {}", path.string(), file->size(), expected_bytes);
  }
  Hasher hasher;
  std::vector<std::byte> block(1 << 20);
  for (int64_t at = 0; at < expected_bytes;) {
    const std::span part = std::span(block).first(std::min<int64_t>(block.size(), expected_bytes - at));
    file->read_at(at, part);
    hasher.add(part);
    at += static_cast<int64_t>(part.size());
  }
  return hasher.hex();
}

struct ManifestLine {
  std::string hash, name;
  int64_t bytes = 0;
};

std::vector<ManifestLine> parse_manifest(const std::string& text, const std::string& source) {
  const size_t end = text.rfind("end ");
  const bool whole = text.starts_with(kFormatLine) && end != std::string::npos &&
                     text.substr(end) == fmt::format("end {}\n", hash_of(text.substr(0, end)));
  if (!whole) fail(ExitCode::kBadData, "{}: damaged, or of another format version", source);
  std::vector<ManifestLine> lines;
  for (size_t at = kFormatLine.size(); at < end;) {
    const size_t stop = text.find('\n', at);
    const std::string line = text.substr(at, stop - at);
    const size_t first = line.find(' '), second = line.find(' ', first + 1);
    ManifestLine entry{line.substr(0, first), line.substr(second + 1)};
    const std::string_view number = std::string_view(line).substr(first + 1, second - first - 1);
    std::from_chars(number.data(), number.data() + number.size(), entry.bytes);
    lines.push_back(entry);
    at = stop + 1;
  }
  return lines;
}

}  // namespace

Vfs::Path checkpoint_path(const Vfs::Path& run, int64_t step) { return run / fmt::format("step-{:08}", step); }

Vfs::Path save_checkpoint(Vfs& vfs, const Vfs::Path& run, int64_t step, std::span<const CheckpointFile> files) {
  const Vfs::Path target = checkpoint_path(run, step);
  const Vfs::Path staging = run / fmt::format(".tmp-{:08}-{}-{}", step, getpid(), std::random_device{}());
  try {
    vfs.make_directory(staging);
    fill_staging(vfs, staging, files);
    if (vfs.exists(target)) discard(vfs, run, target);
    vfs.rename(staging, target);
    vfs.sync_directory(run);
  } catch (const Error& e) {
    try_remove(vfs, staging);
    fail(ExitCode::kWriteFailed, "checkpoint of step {} not saved: {}. Older checkpoints are untouched", step, e.what());
  }
  return target;
}

void verify_checkpoint(Vfs& vfs, const Vfs::Path& checkpoint) {
  const Vfs::Path manifest = checkpoint / kManifest;
  if (!vfs.exists(manifest)) fail(ExitCode::kBadData, "{}: no MANIFEST: not a whole checkpoint", checkpoint.string());
  for (const ManifestLine& line : parse_manifest(read_text(vfs, manifest, kMaxManifestBytes), manifest.string())) {
    const Vfs::Path file = checkpoint / line.name;
    if (!vfs.exists(file)) fail(ExitCode::kBadData, "{}: missing", file.string());
    if (hash_of_file(vfs, file, line.bytes) != line.hash) {
      fail(ExitCode::kBadData, "{}: its contents differ from the manifest's hash", file.string());
    }
  }
}

std::vector<int64_t> checkpoint_steps(Vfs& vfs, const Vfs::Path& run) {
  constexpr std::string_view kPrefix = "step-";
  std::vector<int64_t> steps;
  for (const std::string& name : vfs.list(run)) {
    if (!name.starts_with(kPrefix)) continue;
    int64_t step = 0;
    const char* last = name.data() + name.size();
    const auto [end, error] = std::from_chars(name.data() + kPrefix.size(), last, step);
    if (error == std::errc() && end == last && step >= 0) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::optional<Vfs::Path> newest_checkpoint(Vfs& vfs, const Vfs::Path& run, std::vector<std::string>& complaints) {
  std::vector<int64_t> steps = checkpoint_steps(vfs, run);
  if (steps.empty()) return std::nullopt;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    const Vfs::Path path = checkpoint_path(run, *step);
    try {
      verify_checkpoint(vfs, path);
      return path;
    } catch (const Error& e) {
      complaints.emplace_back(e.what());
    }
  }
  std::string all;
  for (const std::string& complaint : complaints) all += "\n  " + complaint;
  fail(ExitCode::kNoCheckpoint, "{}: {} checkpoints, none can be loaded:{}", run.string(), steps.size(), all);
}

void prune_checkpoints(Vfs& vfs, const Vfs::Path& run, int64_t keep, int64_t milestone) {
  const std::vector<int64_t> steps = checkpoint_steps(vfs, run);
  for (int64_t i = 0; i + keep < static_cast<int64_t>(steps.size()); ++i) {
    if (milestone > 0 && steps[i] % milestone == 0) continue;
    discard(vfs, run, checkpoint_path(run, steps[i]));
  }
}

void remove_leftovers(Vfs& vfs, const Vfs::Path& run) {
  for (const std::string& name : vfs.list(run)) {
    if (name.starts_with(".tmp-") || name.starts_with(".trash-")) remove_tree(vfs, run / name);
  }
}

RunLock::RunLock(const Vfs::Path& run) {
  const Vfs::Path path = run / "run.lock";
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0) fail(ExitCode::kCannotCreate, "create {}: {}", path.string(), std::strerror(errno));
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  ::close(fd_);
  fail(ExitCode::kCannotCreate, "{}: another process trains in this run directory; wait for it, or give another "
       "--run-dir", run.string());
}

RunLock::~RunLock() { ::close(fd_); }

}  // namespace bigbigan
