// A configuration of one field of every type, for the tests of its reader.
#pragma once

#include <string>
#include <vector>

#include "engine/util/config.h"

namespace bigbigan {

struct Settings {
  int64_t batch = 64;
  double rate = 0.5;
  bool flip = true;
  std::string path = "here", kind = "basic";
  std::vector<int64_t> channels = {8, 16};

  std::vector<ConfigField> fields() {
    return {{"train.batch", &batch, "images", 1, 1000},
            {"train.rate", &rate, "learning rate", 0, 1},
            {"data.flip", &flip, "mirror"},
            {"data.path", &path, "folder"},
            {"model.kind", &kind, "network", 0, 0, {"basic", "deep"}},
            {"model.channels", &channels, "widths", 1, 100}};
  }

  // Whether every value is within its bounds.
  [[nodiscard]] bool is_valid() const {
    bool valid = batch >= 1 && batch <= 1000 && rate >= 0 && rate <= 1;
    for (const int64_t c : channels) valid = valid && c >= 1 && c <= 100;
    return valid && (kind == "basic" || kind == "deep");
  }
};

}  // namespace bigbigan
