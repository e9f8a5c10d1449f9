#include "engine/io/checkpoint.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <random>
#include <set>

#include "engine/io/hasher.h"
#include "engine/util/text.h"
#include "kernels/common/error.h"

namespace bigbigan {
namespace {

constexpr std::string_view kFormatLine = "bigbigan-ckpt 1\n";
constexpr std::string_view kManifest = "MANIFEST";
constexpr std::string_view kStaging = ".tmp-";
constexpr std::string_view kTrash = ".trash-";
constexpr int64_t kMaxManifestBytes = 1 << 20;

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

// A directory with all it holds, or a file; links are removed, not followed.
void remove_tree(Vfs& vfs, const Vfs::Path& path) {
  if (!vfs.is_directory(path)) return vfs.remove_file(path);
  for (const std::string& name : vfs.list(path)) remove_tree(vfs, path / name);
  vfs.remove_directory(path);
}

// Out of sight first, by one rename: an interrupted removal never leaves half a checkpoint under
// its name.
void discard(Vfs& vfs, const Vfs::Path& run, const Vfs::Path& directory) {
  const Vfs::Path trash =
      run / fmt::format("{}{}-{}", kTrash, directory.filename().string(), std::random_device{}());
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

// ", <n> bytes free", or nothing when that cannot be told.
std::string free_space_text(Vfs& vfs, const Vfs::Path& run) {
  try {
    return fmt::format(" ({} bytes free)", vfs.free_bytes(run));
  } catch (const Error&) {
    return {};
  }
}

// A name that stays inside its directory and cannot be taken for the manifest.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name.front() != '.' && name != kManifest &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

std::optional<ManifestEntry> parse_entry(std::string_view line) {
  constexpr size_t kHashDigits = 32;
  const size_t space = line.find(' ', kHashDigits + 1);
  if (line.size() <= kHashDigits || line[kHashDigits] != ' ' || space == std::string_view::npos) {
    return std::nullopt;
  }
  ManifestEntry entry{std::string(line.substr(0, kHashDigits)),
                      std::string(line.substr(space + 1))};
  const char* last = line.data() + space;
  const auto [end, error] = std::from_chars(line.data() + kHashDigits + 1, last, entry.bytes);
  const bool is_size = error == std::errc() && end == last && entry.bytes >= 0;
  const bool is_hash = entry.hash.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_size || !is_hash || !is_plain_name(entry.name)) return std::nullopt;
  return entry;
}

}  // namespace

std::vector<ManifestEntry> parse_manifest(std::string_view text, const std::string& source) {
  if (!text.starts_with(kFormatLine)) {
    fail(ExitCode::kBadData, "{}: damaged, or of another format version", source);
  }
  const size_t end = text.rfind("\nend ") + 1;
  if (end == 0 || text.substr(end) != fmt::format("end {}\n", hash_of(text.substr(0, end)))) {
    fail(ExitCode::kBadData, "{}: damaged: its last line is not the hash of the others", source);
  }
  std::vector<ManifestEntry> entries;
  std::set<std::string> names;
  for (size_t at = kFormatLine.size(), stop = 0; at < end; at = stop + 1) {
    stop = text.find('\n', at);
    const auto entry = parse_entry(text.substr(at, stop - at));
    if (!entry || !names.insert(entry->name).second) {
      fail(ExitCode::kBadData, "{}: not an entry, or a name twice, at byte {}", source, at);
    }
    entries.push_back(*entry);
  }
  return entries;
}

Vfs::Path checkpoint_path(const Vfs::Path& run, int64_t step) {
  return run / fmt::format("step-{:08}", step);
}

Vfs::Path save_checkpoint(Vfs& vfs, const Vfs::Path& run, int64_t step,
                          std::span<const CheckpointFile> files) {
  const Vfs::Path target = checkpoint_path(run, step);
  const Vfs::Path staging =
      run / fmt::format("{}{:08}-{}-{}", kStaging, step, ::getpid(), std::random_device{}());
  try {
    vfs.make_directory(staging);
    fill_staging(vfs, staging, files);
    if (vfs.exists(target)) discard(vfs, run, target);
    vfs.rename(staging, target);
    vfs.sync_directory(run);
  } catch (const Error& e) {
    try_remove(vfs, staging);
    fail(ExitCode::kWriteFailed,
         "checkpoint of step {} not saved: {}{}. Older checkpoints are untouched", step, e.what(),
         free_space_text(vfs, run));
  }
  return target;
}

void check_room(Vfs& vfs, const Vfs::Path& run, int64_t count, int64_t bytes) {
  const int64_t room = vfs.free_bytes(run);
  if (bytes == 0 || count <= room / bytes) return;
  fail(ExitCode::kWriteFailed,
       "{}: {} more checkpoints of {} each are to be kept there at a time, and {} are free: give a "
       "--run-dir on another disk, or a smaller checkpoint.keep",
       run.string(), format_count(count), format_bytes(bytes), format_bytes(room));
}

void verify_checkpoint(Vfs& vfs, const Vfs::Path& checkpoint) {
  const Vfs::Path manifest = checkpoint / kManifest;
  if (!vfs.exists(manifest)) {
    fail(ExitCode::kBadData, "{}: missing: not a whole checkpoint", manifest.string());
  }
  for (const ManifestEntry& line :
       parse_manifest(read_text(vfs, manifest, kMaxManifestBytes), manifest.string())) {
    const Vfs::Path file = checkpoint / line.name;
    if (!vfs.exists(file)) fail(ExitCode::kBadData, "{}: missing", file.string());
    if (const int64_t bytes = vfs.open(file)->size(); bytes != line.bytes) {
      fail(ExitCode::kBadData, "{}: {} bytes, the manifest says {}", file.string(), bytes,
           line.bytes);
    }
    if (hash_of_file(vfs, file) != line.hash) {
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
    const bool is_number = error == std::errc() && end == last && step >= 0;
    if (is_number && checkpoint_path(run, step).filename() == name) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::optional<Vfs::Path> newest_checkpoint(Vfs& vfs, const Vfs::Path& run,
                                           std::vector<std::string>& complaints) {
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
  fail(ExitCode::kNoCheckpoint, "{}: {} checkpoints, none can be loaded:{}", run.string(),
       steps.size(), all);
}

void prune_checkpoints(Vfs& vfs, const Vfs::Path& run, int64_t newest, int64_t keep,
                       int64_t milestone) {
  std::vector<int64_t> steps = checkpoint_steps(vfs, run);
  std::erase_if(steps, [newest](int64_t step) { return step > newest; });
  for (int64_t i = 0; i + keep < static_cast<int64_t>(steps.size()); ++i) {
    if (milestone > 0 && steps[i] % milestone == 0) continue;
    discard(vfs, run, checkpoint_path(run, steps[i]));
  }
}

void remove_leftovers(Vfs& vfs, const Vfs::Path& run) {
  for (const std::string& name : vfs.list(run)) {
    const bool is_leftover =
        name.starts_with(kStaging) || name.starts_with(kTrash) || is_temporary_name(name);
    if (is_leftover) remove_tree(vfs, run / name);
  }
}

}  // namespace bigbigan
