// bigbigan-train on an emulated device, as a program: what it does to the device can be chosen.
#pragma once

#include "tests/e2e/tiny_training.h"

namespace bigbigan {

// A run so small that an emulated step takes a moment: two images per update, narrow networks. A
// checkpoint every two of six steps; statistics at the end only, so that reports are read late.
class DeviceRun {
 public:
  // Starts or continues run `name`, with more `environment` ("EMU_...=...") and arguments.
  [[nodiscard]] ProcessResult train(const std::string& name,
                                    const std::vector<std::string>& environment = {},
                                    const std::vector<std::string>& more = {},
                                    const std::string& device = "cuda") const {
    std::vector<std::string> arguments = {
        "--device",          device,           "train.batch=2",      "train.steps=6",
        "model.mlp_width=8", "model.z_dim=4",  "log.every_steps=50", "model.encoder_channels=[4,4]",
        "data.val_images=4", "train.threads=1"};
    for (const char* channels : {"model.g_channels", "model.d_channels"}) {
      arguments.push_back(std::string(channels) + "=[4,4,4,4]");
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    return tiny_.train(name, arguments, environment);
  }
  [[nodiscard]] const TinyTraining& files() const { return tiny_; }

 private:
  TinyTraining tiny_;
};

// Requires exit code 71, and an error of one line that holds `text`.
inline void require_one_line(const ProcessResult& result, const std::string& text) {
  INFO(result.err);
  REQUIRE(result.signal == 0);
  REQUIRE(result.code == 71);
  const size_t at = result.err.find("error: ");
  REQUIRE(at != std::string::npos);
  REQUIRE(result.err.find('\n', at) == result.err.size() - 1);
  REQUIRE(result.err.find(text, at) != std::string::npos);
}

}  // namespace bigbigan
