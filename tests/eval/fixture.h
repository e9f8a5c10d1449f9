// What the tests of evaluation share: a small random model as a run directory, a small data set,
// and the programs themselves.
#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "engine/io/checkpoint.h"
#include "engine/util/thread_pool.h"
#include "eval/session.h"
#include "models/bigbigan/load.h"
#include "tests/engine_io/scratch.h"

namespace bigbigan {

// The smallest model of 32x32 gray images; initialised from seed 3, with running statistics that
// are not those of a new model.
inline constexpr const char* kTinyConfig = R"toml(
[model]
resolution = 32
image_channels = 1
z_dim = 8
embed_dim = 4
g_channels = [8, 8, 8, 8]
d_channels = [4, 8, 8, 8]
mlp_width = 16
encoder = "basic"
encoder_channels = [4, 8, 8, 12]
encoder_head_width = 16

[data]
val_images = 12

[train]
seed = 3
batch = 4
d_steps = 2
)toml";
inline constexpr int64_t kTinyFeatures = 12, kTinyLatent = 8;
inline constexpr int64_t kTrainImages = 60, kTestImages = 21, kClasses = 3;

// RUN with config.toml and the checkpoint step-00000007, whose averages differ from its live
// weights.
class TinyRun {
 public:
  TinyRun();
  [[nodiscard]] Vfs::Path run() const { return folder_ / "run"; }
  [[nodiscard]] Vfs::Path data() const { return folder_ / "data"; }
  [[nodiscard]] Vfs::Path path(const std::string& name) const { return folder_ / name; }
  [[nodiscard]] Session session(ModelOptions options = {}) {
    options.model = run().string();
    return {vfs, options};
  }
  PosixVfs vfs;

 private:
  ScratchFolder folder_;
};

// IDX files of kTrainImages and kTestImages images of 8x8 in kClasses classes that differ in
// brightness.
void write_tiny_data(const Vfs::Path& folder);

// Runs a program of the build with arguments (a shell's words); its exit code and what it printed.
struct ProgramResult {
  int code = -1;
  std::string out, err;
};
ProgramResult run_program_of_build(const std::string& program, const std::string& arguments);

}  // namespace bigbigan
