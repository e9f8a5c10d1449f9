// What people get wrong: exit codes and messages.
#include <catch2/catch.hpp>

#include "tests/e2e/tiny_training.h"
#include "tests/engine_data/images.h"

using namespace bigbigan;

namespace {

void require_refused(const ProcessResult& result, int code,
                     std::initializer_list<std::string> parts) {
  INFO(result.err);
  REQUIRE(result.code == code);
  for (const std::string& part : parts) REQUIRE_THAT(result.err, Catch::Contains(part));
}

}  // namespace

TEST_CASE("bad input: a run cannot be continued with another configuration") {
  const TinyTraining tiny;
  tiny.train_well("run");
  const std::string before = tiny.state("run", 8);
  require_refused(tiny.train("run", {"train.batch=4"}), 78, {"train.batch: 8 and 4"});
  require_refused(tiny.train("run", {"optim.g_lr=0.5", "train.seed=3", "model.mlp_width=8"}), 78,
                  {"step-00000008", "optim.g_lr: 0.001 and 0.5", "train.seed: 0 and 3",
                   "model.mlp_width: 16 and 8"});
  require_refused(tiny.train("run", {"model.g_channels=[16, 8, 8, 8]"}), 78,
                  {"model.g_channels: [8, 8, 8, 8] and [16, 8, 8, 8]"});
  require_refused(run_process({trainer(), "--resume", tiny / "run", "train.d_steps=2"}), 78,
                  {"train.d_steps: 1 and 2"});
  REQUIRE(tiny.state("run", 8) == before);
  tiny.train_well("run", {"checkpoint.keep=2", "log.every_steps=3", "train.minutes=9"});
}

TEST_CASE("bad input: a run cannot be continued on other data") {
  const TinyTraining tiny;
  tiny.train_well("run");
  write_tiny_images(tiny / "other.npy", 64, 2);
  require_refused(run_process({trainer(), "--resume", tiny / "run", "--data", tiny / "other.npy"}),
                  78, {"other data", "other.npy"});
  // The same data elsewhere are the same.
  std::filesystem::rename(tiny / "images.npy", tiny / "moved.npy");
  REQUIRE(run_process({trainer(), "--resume", tiny / "run", "--data", tiny / "moved.npy"}).code ==
          0);
}

TEST_CASE("bad input: data that are missing, empty, truncated or foreign") {
  const TinyTraining tiny;
  const auto train_on = [&](const std::string& data) {
    return tiny.train("run", {"data.path=" + data});
  };
  require_refused(train_on(tiny / "none"), 66, {"none: not found"});
  std::filesystem::create_directory(tiny / "folder");
  require_refused(train_on(tiny / "folder"), 66,
                  {"folder", "train-images-idx3-ubyte", "dataset-fashion-mnist"});
  write_raw(tiny / "empty.npy", "");
  require_refused(train_on(tiny / "empty.npy"), 65, {"empty.npy"});
  const std::string good = read_raw(tiny / "images.npy");
  write_raw(tiny / "short.npy", good.substr(0, good.size() - 1));
  require_refused(train_on(tiny / "short.npy"), 65, {"short.npy"});
  write_raw(tiny / "photo.npy", "\x89PNG\r\n\x1a\n" + std::string(1000, 'x'));
  require_refused(train_on(tiny / "photo.npy"), 65, {"photo.npy"});
  write_tiny_images(tiny / "few.npy", 9);
  require_refused(train_on(tiny / "few.npy"), 78,
                  {"few.npy", "9 images", "data.val_images", "train.batch"});

  write_idx_folder(tiny / "idx", 64);
  const auto images = tiny / "idx" / "train-images-idx3-ubyte";
  const std::string bytes = read_raw(images);
  for (const std::string& bad : {std::string(), bytes.substr(0, 1000), "\xff\xd8\xff" + bytes}) {
    write_raw(images, bad);
    require_refused(train_on(tiny / "idx"), 65, {images.string()});
  }
  // None of this took the directory: the first good start does.
  write_raw(images, bytes);
  REQUIRE(train_on(tiny / "idx").code == 0);
}

TEST_CASE("bad input: unknown flags, commands and keys") {
  const TinyTraining tiny;
  require_refused(run_process({trainer(), "--presett", "base"}), 64,
                  {"--presett", "did you mean --preset?"});
  require_refused(run_process({trainer(), "--preset"}), 64, {"--preset"});
  require_refused(run_process({trainer(), "--run-dir", "a", "--resume", "b"}), 64,
                  {"give one of them"});
  require_refused(run_process({trainer(), "--preset", "fmnist-32-tinny"}), 78,
                  {"did you mean fmnist-32-tiny?"});
  require_refused(run_process({trainer(), "--config", tiny / "none.toml"}), 66, {"none.toml"});
  require_refused(run_process({trainer(), "--resume", tiny / "none"}), 66,
                  {"no run is there", "--preset"});
  require_refused(tiny.train("run", {"train.bacth=3"}), 78,
                  {"train.bacth", "did you mean train.batch?"});
  require_refused(tiny.train("run", {"surplus"}), 78, {"surplus", "key=value"});
}

TEST_CASE("bad input: every problem of the configuration is told at once") {
  const TinyTraining tiny;
  write_raw(tiny / "bad.toml", "[train]\nbatch = 0\nstep = 3\n[optim]\ng_lr = nan\n");
  require_refused(
      tiny.train("run", {"--config", tiny / "bad.toml", "data.flip=1", "model.encoder=vgg"}), 64,
      {"--config"});
  require_refused(run_process({trainer(), "--config", tiny / "bad.toml", "--run-dir", tiny / "run",
                               "data.flip=1", "model.encoder=vgg", "train.seed=-1"}),
                  78,
                  {"bad.toml", "train.batch is 0", "train.step;", "did you mean train.steps?",
                   "optim.g_lr is nan", "data.flip", "model.encoder", "basic", "train.seed"});
  REQUIRE_FALSE(std::filesystem::exists(tiny / "run"));
}

TEST_CASE("bad input: a run directory that cannot be made or written") {
  const TinyTraining tiny;
  write_raw(tiny / "file", "");
  require_refused(tiny.train("file"), 73, {"file"});
  require_refused(tiny.train("file/below"), 73, {"file/below"});
  require_refused(run_process({trainer(), "--describe", "--preset", "fmnist-32-tiny", "--resume",
                               tiny / "none"}),
                  0, {});
}

TEST_CASE("bad input: a start that fails leaves no folder behind") {
  const TinyTraining tiny;
  const std::string start =
      "cd " + (tiny / "").string() + " && " + trainer() + " --config tiny.toml --data ";
  const auto refused = [&](const std::string& arguments, int code) {
    require_refused(run_process({"/bin/sh", "-c", start + arguments}), code, {});
  };
  refused("none.npy", 66);
  refused("images.npy train.batch=1000", 78);
  refused("images.npy --init-from none", 66);
  refused("images.npy checkpoint.keep=1000000000 train.steps=4000000000", 74);
  REQUIRE_FALSE(std::filesystem::exists(tiny / "runs"));
  refused("none.npy --run-dir outer/inner/", 66);
  REQUIRE_FALSE(std::filesystem::exists(tiny / "outer"));
  // What was there stays.
  std::filesystem::create_directories(tiny / "given");
  refused("none.npy --run-dir given", 66);
  REQUIRE(std::filesystem::exists(tiny / "given"));
}

TEST_CASE("bad input: results that cannot be written are a failure") {
  if (::access("/dev/full", W_OK) != 0) return;
  const std::string command = trainer() + " --preset fmnist-32-tiny --describe > /dev/full";
  require_refused(run_process({"/bin/sh", "-c", command}), 74, {"standard output"});
}
