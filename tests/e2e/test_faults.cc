// Full disks, NaN and damaged checkpoints, in the running trainer.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "engine/io/checkpoint.h"
#include "engine/io/jsonl.h"
#include "engine/io/safetensors.h"
#include "tests/e2e/tiny_training.h"

using namespace bigbigan;

namespace {

// A hash of the tensors of a file; without batch norm statistics and spectral vectors,
// which a forward pass moves.
size_t weights(const std::filesystem::path& path) {
  PosixVfs vfs;
  SafetensorsFile file(vfs, path);
  std::string all;
  for (const std::string& name : file.names()) {
    const bool is_buffer = name.find(".running_") != std::string::npos || name.ends_with(".u");
    if (is_buffer) continue;
    std::vector<std::byte> bytes(file.info(name).bytes);
    file.read(name, bytes);
    all += name;
    all.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  return std::hash<std::string>()(all);
}

int64_t last_integer(const TinyTraining& tiny, const std::string& key) {
  PosixVfs vfs;
  return json_get<int64_t>(read_jsonl(vfs, tiny / "run" / "stats.jsonl").back(), key, "stats");
}

void damage(const std::filesystem::path& file) {
  std::string bytes = read_raw(file);
  bytes[bytes.size() / 2] ^= 1;
  write_raw(file, bytes);
}

}  // namespace

TEST_CASE("faults: a run whose checkpoints have no room on the disk does not start") {
  const TinyTraining tiny;
  const ProcessResult refused =
      tiny.train("run", {"checkpoint.keep=1000000000", "train.steps=4000000000"});
  INFO(refused.err);
  REQUIRE(refused.code == 74);
  REQUIRE_THAT(refused.err, Catch::Contains("1,000,000,001 more checkpoints of") &&
                                Catch::Contains("checkpoint.keep"));
  tiny.train_well("run");  // the directory is free
}

TEST_CASE("faults: a full disk ends the run with 74, older checkpoints stay, and it can go on") {
  const TinyTraining tiny;
  tiny.train_well("reference");
  const ProcessResult full = tiny.train("run", {}, {"BIGBIGAN_FAULT=enospc@0:4"});
  INFO(full.err);
  REQUIRE(full.code == 74);
  REQUIRE_THAT(full.err, Catch::Contains("checkpoint of step 4 not saved"));
  REQUIRE_THAT(full.err, Catch::Contains("model.safetensors"));
  REQUIRE_THAT(full.err, Catch::Contains("File too large"));
  REQUIRE(tiny.steps("run") == std::vector<int64_t>{2});
  for (const auto& entry : std::filesystem::directory_iterator(tiny / "run")) {
    REQUIRE(entry.path().filename().string().find(".tmp-") == std::string::npos);
  }
  const ProcessResult rest = tiny.train("run");
  REQUIRE(rest.code == 0);
  REQUIRE(resumed_from(rest) == 2);
  REQUIRE(tiny.state("run", 8) == tiny.state("reference", 8));
}

TEST_CASE("faults: a step with NaN is skipped and changes no weight") {
  const TinyTraining tiny;
  const ProcessResult result = tiny.train("run", {"checkpoint.every_steps=1", "checkpoint.keep=9"},
                                          {"BIGBIGAN_FAULT=nan@0:3:2"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  REQUIRE_THAT(result.err, Catch::Contains("step 3/8") && Catch::Contains("SKIPPED (NaN or Inf)"));
  REQUIRE(last_integer(tiny, "skipped_steps") == 2);
  for (const char* file : {"model.safetensors", "optim.safetensors", "ema.safetensors"}) {
    const auto at = [&](int64_t step) {
      return weights(checkpoint_path(tiny / "run", step) / file);
    };
    INFO(file);
    REQUIRE(at(2) == at(3));
    REQUIRE(at(3) == at(4));
    REQUIRE(at(4) != at(5));
    REQUIRE(at(1) != at(2));
  }
}

TEST_CASE("faults: NaN five times in a row ends with 79, and the run can go on") {
  const TinyTraining tiny;
  const ProcessResult result = tiny.train("run", {}, {"BIGBIGAN_FAULT=nan@0:3:100"});
  INFO(result.err);
  REQUIRE(result.code == 79);
  REQUIRE_THAT(result.err, Catch::Contains("step 7: NaN or Inf") &&
                               Catch::Contains("5 steps in a row") &&
                               Catch::Contains("weights of step 6 with --init-from"));
  REQUIRE(tiny.steps("run").back() == 6);
  const ProcessResult rest = tiny.train("run");
  REQUIRE(rest.code == 0);
  REQUIRE(resumed_from(rest) == 6);
  REQUIRE(last_integer(tiny, "skipped_steps") == 4);  // of the checkpoint; step 7 is done anew
  // Four in a row are not enough.
  REQUIRE(tiny.train("other", {}, {"BIGBIGAN_FAULT=nan@0:3:4"}).code == 0);
}

// Reports are read while the step after is under way; only a checkpoint waits for its own.
TEST_CASE("faults: NaN in reports that are read one step late ends with 79 at the same step") {
  const int64_t first = GENERATE(3, 4), last = first + 4;  // before a checkpoint is due, and when
  const TinyTraining tiny;
  const std::vector<std::string> late = {"log.every_steps=100"};
  tiny.train_well("run", {late[0], "train.steps=2"});
  const std::string good = tiny.state("run", 2);
  const ProcessResult result =
      tiny.train("run", late, {fmt::format("BIGBIGAN_FAULT=nan@0:{}:100", first)});
  INFO(result.err);
  REQUIRE(result.code == 79);
  REQUIRE_THAT(result.err, Catch::Contains(fmt::format("step {}: NaN or Inf", last)) &&
                               Catch::Contains("5 steps in a row"));
  REQUIRE(tiny.steps("run") == std::vector<int64_t>{2, 4, 6});
  REQUIRE(tiny.state("run", 2) == good);
  // Every skipped step has its line, under its own number.
  PosixVfs vfs;
  std::vector<int64_t> skipped;
  for (const FlatJson& line : read_jsonl(vfs, tiny / "run" / "stats.jsonl")) {
    skipped.push_back(json_get<int64_t>(line, "step", "stats"));
    REQUIRE(json_get<int64_t>(line, "skipped_steps", "stats") == std::ssize(skipped));
  }
  REQUIRE(skipped == std::vector<int64_t>{first, first + 1, first + 2, first + 3, last});
  const ProcessResult rest = tiny.train("run", late);
  REQUIRE(rest.code == 0);
  REQUIRE(resumed_from(rest) == 6);
}

TEST_CASE("faults: a damaged checkpoint is passed over, and all of them damaged is 80") {
  const TinyTraining tiny;
  tiny.train_well("reference");
  tiny.train_well("run");
  REQUIRE(tiny.steps("run") == std::vector<int64_t>{4, 6, 8});
  damage(tiny / "run" / "step-00000008" / "optim.safetensors");
  std::filesystem::remove(tiny / "run" / "step-00000006" / "ema.safetensors");
  const ProcessResult fallen_back = tiny.train("run");
  INFO(fallen_back.err);
  REQUIRE(fallen_back.code == 0);
  REQUIRE(resumed_from(fallen_back) == 4);
  REQUIRE_THAT(fallen_back.err, Catch::Contains("warning: ") &&
                                    Catch::Contains("step-00000008/optim.safetensors") &&
                                    Catch::Contains("step-00000006/ema.safetensors"));
  REQUIRE(tiny.state("run", 8) == tiny.state("reference", 8));
  REQUIRE(tiny.history("run") == tiny.history("reference"));

  for (const char* step : {"step-00000004", "step-00000006", "step-00000008"}) {
    damage(tiny / "run" / step / "state.json");
  }
  const ProcessResult none = tiny.train("run");
  REQUIRE(none.code == 80);
  REQUIRE_THAT(none.err, Catch::Contains("3 checkpoints, none can be loaded"));
  REQUIRE(tiny.steps("run").size() == 3);  // a loader deletes nothing
}

TEST_CASE("faults: a fault nobody knows is refused") {
  const TinyTraining tiny;
  const ProcessResult result = tiny.train("run", {}, {"BIGBIGAN_FAULT=meteor@0:3"});
  REQUIRE(result.code == 78);
  REQUIRE_THAT(result.err,
               Catch::Contains("meteor@0:3") && Catch::Contains("kind nan, enospc, drift"));
}
