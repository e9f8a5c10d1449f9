#include <catch2/catch.hpp>
#include <random>

#include "engine/io/checkpoint.h"
#include "tests/engine_io/scratch.h"

using namespace bigbigan;
namespace fs = std::filesystem;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

CheckpointFile file_of(const std::string& name, const std::string& contents) {
  return {name, [contents](WritableFile& file) { file.write(bytes_of(contents)); }};
}

std::string contents_of(int64_t step) {
  std::string text = "weights of step " + std::to_string(step) + " ";
  while (text.size() < 10000) text += text;
  return text;
}

void save(Vfs& vfs, const fs::path& run, int64_t step) {
  const std::vector<CheckpointFile> files = {file_of("model", contents_of(step)),
                                             file_of("state", "step " + std::to_string(step))};
  REQUIRE(save_checkpoint(vfs, run, step, files) == checkpoint_path(run, step));
}

std::optional<std::string> newest(Vfs& vfs, const fs::path& run,
                                  std::vector<std::string>& complaints) {
  const auto path = newest_checkpoint(vfs, run, complaints);
  return path ? std::optional(path->filename().string()) : std::nullopt;
}

// Whether step 1 is taken and step 2 complained about, naming `file`.
void require_fall_back(Vfs& vfs, const fs::path& run, const std::string& file) {
  INFO(file);
  std::vector<std::string> complaints;
  REQUIRE(newest(vfs, run, complaints) == "step-00000001");
  REQUIRE(complaints.size() == 1);
  REQUIRE_THAT(complaints[0], Catch::Contains((run / "step-00000002" / file).string()));
}

}  // namespace

TEST_CASE("checkpoint: a run without checkpoints has no newest one") {
  ScratchFolder run;
  PosixVfs vfs;
  std::vector<std::string> complaints;
  REQUIRE_FALSE(newest_checkpoint(vfs, run.path(), complaints).has_value());
  REQUIRE(complaints.empty());
}

TEST_CASE("checkpoint: what was saved verifies, and the newest is found") {
  ScratchFolder run;
  PosixVfs vfs;
  for (const int64_t step : {7, 12, 100000000}) save(vfs, run.path(), step);
  REQUIRE(checkpoint_steps(vfs, run.path()) == std::vector<int64_t>{7, 12, 100000000});
  std::vector<std::string> complaints;
  REQUIRE(newest(vfs, run.path(), complaints) == "step-100000000");
  REQUIRE(complaints.empty());
  REQUIRE(read_raw(run / "step-00000012" / "model") == contents_of(12));
  REQUIRE(run.entries() == 3);  // no staging left
  REQUIRE((fs::status(run / "step-00000012").permissions() & fs::perms::others_all) ==
          fs::perms::none);
}

TEST_CASE("checkpoint: any damage is refused by name, and the one before is used") {
  ScratchFolder run;
  PosixVfs vfs;
  save(vfs, run.path(), 1);
  for (const char* name : {"model", "state", "MANIFEST"}) {
    save(vfs, run.path(), 2);
    const fs::path file = run / "step-00000002" / name;
    const std::string good = read_raw(file);
    std::mt19937 random(5);
    for (int i = 0; i < 50; ++i) {
      std::string bad = good;
      bad[random() % bad.size()] ^= static_cast<char>(1 << random() % 8);
      write_raw(file, bad);
      require_fall_back(vfs, run.path(), name);
    }
    for (size_t keep = 0; keep < good.size(); keep += 4096) {
      write_raw(file, good.substr(0, keep));
      require_fall_back(vfs, run.path(), name);
    }
    write_raw(file, std::string(good.size(), '\0'));
    require_fall_back(vfs, run.path(), name);
    write_raw(file, good + "x");
    require_fall_back(vfs, run.path(), name);
    fs::remove(file);
    require_fall_back(vfs, run.path(), name);
    fs::create_directory(file);
    require_fall_back(vfs, run.path(), name);
    fs::remove(file);
    fs::create_symlink(run / "step-00000001" / name, file);
    require_fall_back(vfs, run.path(), name);
  }
}

TEST_CASE("checkpoint: when none verifies the error says why each was passed over") {
  ScratchFolder run;
  PosixVfs vfs;
  for (const int64_t step : {1, 2}) save(vfs, run.path(), step);
  write_raw(run / "step-00000002" / "state", "step 3");
  fs::remove(run / "step-00000001" / "model");
  std::vector<std::string> complaints;
  require_error([&] { newest_checkpoint(vfs, run.path(), complaints); }, ExitCode::kNoCheckpoint,
                {run.path().string(), "2 checkpoints", "step-00000002/state", "hash",
                 "step-00000001/model: missing"});
}

TEST_CASE("checkpoint: only directories with the name of a step count") {
  ScratchFolder run;
  PosixVfs vfs;
  save(vfs, run.path(), 3);
  for (const char* name : {"step-4", "step-0000000005", "step--0000001", "step-00000006.old",
                           "step-", "step-99999999999999999999", ".tmp-00000007-1-1"}) {
    fs::copy(run / "step-00000003", run / name);
  }
  REQUIRE(checkpoint_steps(vfs, run.path()) == std::vector<int64_t>{3});
  write_raw(run / "step-00000009", "a file");
  std::vector<std::string> complaints;
  REQUIRE(newest(vfs, run.path(), complaints) == "step-00000003");
  REQUIRE(complaints.size() == 1);
}

TEST_CASE("checkpoint: a damaged one of the same step is replaced") {
  ScratchFolder run;
  PosixVfs vfs;
  save(vfs, run.path(), 1);
  write_raw(run / "step-00000001" / "model", "damage");
  fs::create_directories(run / "step-00000001" / "folder" / "inside");
  save(vfs, run.path(), 1);
  REQUIRE_NOTHROW(verify_checkpoint(vfs, run / "step-00000001"));
  REQUIRE(run.entries() == 1);
}

TEST_CASE("checkpoint: a save that fails leaves the older ones and no staging") {
  ScratchFolder run;
  PosixVfs vfs;
  save(vfs, run.path(), 1);
  const std::vector<CheckpointFile> files = {
      file_of("model", "x"), {"bad", [](WritableFile&) {
                                fail(ExitCode::kWriteFailed, "write bad: No space left on device");
                              }}};
  require_error([&] { save_checkpoint(vfs, run.path(), 2, files); }, ExitCode::kWriteFailed,
                {"checkpoint of step 2", "No space left on device", "bytes free", "untouched"});
  REQUIRE(run.entries() == 1);
  std::vector<std::string> complaints;
  REQUIRE(newest(vfs, run.path(), complaints) == "step-00000001");
}

TEST_CASE("checkpoint: pruning keeps the newest and the milestones") {
  ScratchFolder run;
  PosixVfs vfs;
  for (int64_t step = 1; step <= 8; ++step) {
    save(vfs, run.path(), step);
    prune_checkpoints(vfs, run.path(), step, 3, 4);
  }
  REQUIRE(checkpoint_steps(vfs, run.path()) == std::vector<int64_t>{4, 6, 7, 8});
  prune_checkpoints(vfs, run.path(), 8, 1, 0);
  REQUIRE(checkpoint_steps(vfs, run.path()) == std::vector<int64_t>{8});
  REQUIRE(run.entries() == 1);  // no trash left
}

TEST_CASE("checkpoint: later ones that did not verify do not push good ones out") {
  ScratchFolder run;
  PosixVfs vfs;
  for (int64_t step = 1; step <= 6; ++step) save(vfs, run.path(), step);
  for (const int64_t step : {4, 5, 6}) fs::remove(checkpoint_path(run.path(), step) / "model");
  // The run went back to 3 and saves 4 anew.
  save(vfs, run.path(), 4);
  prune_checkpoints(vfs, run.path(), 4, 3, 0);
  REQUIRE(checkpoint_steps(vfs, run.path()) == std::vector<int64_t>{2, 3, 4, 5, 6});
}

TEST_CASE("checkpoint: leftovers go, everything else stays") {
  ScratchFolder run;
  PosixVfs vfs;
  save(vfs, run.path(), 1);
  fs::create_directories(run / ".tmp-00000002-77-99" / "folder");
  write_raw(run / ".tmp-00000002-77-99" / "model", "half");
  write_raw(run / ".tmp-00000002-77-99" / "folder" / "file", "x");
  fs::create_directory(run / ".trash-step-00000000-5");
  fs::create_directory_symlink(run / "step-00000001", run / ".trash-link");
  write_raw(run / "config.toml.tmp-123-456", "half");
  write_raw(run / ".tmp-file", "x");
  for (const char* mine : {"notes.tmp-old", "stats.jsonl", "a.tmp-"}) write_raw(run / mine, "mine");
  remove_leftovers(vfs, run.path());
  REQUIRE(vfs.list(run.path()) ==
          std::vector<std::string>{"a.tmp-", "notes.tmp-old", "stats.jsonl", "step-00000001"});
  REQUIRE_NOTHROW(verify_checkpoint(vfs, run / "step-00000001"));
}

TEST_CASE("checkpoint: the manifest lists hash, size and name of each file, and its own hash") {
  ScratchFolder run;
  PosixVfs vfs;
  // Hashes by xxh128sum of the same bytes.
  const std::vector<CheckpointFile> files = {file_of("empty", ""), file_of("abc", "abc")};
  save_checkpoint(vfs, run.path(), 1, files);
  const std::string text = read_raw(run / "step-00000001" / "MANIFEST");
  const std::string body =
      "bigbigan-ckpt 1\n"
      "99aa06d3014798d86001c324468d497f 0 empty\n"
      "06b05ab6733a618578af5f94892f3950 3 abc\n";
  REQUIRE(text.substr(0, body.size()) == body);
  const auto entries = parse_manifest(text, "m");
  REQUIRE(entries.size() == 2);
  REQUIRE(entries[1].name == "abc");
  REQUIRE(entries[1].bytes == 3);
  REQUIRE(entries[1].hash == "06b05ab6733a618578af5f94892f3950");
}
