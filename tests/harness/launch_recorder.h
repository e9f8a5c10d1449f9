// Which launchers ran: for what fusing, grouping and rewriting are to save.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/common/exec.h"

namespace bigbigan {

class LaunchRecorder final : public KernelObserver {
 public:
  void begin(std::string_view launcher, const LaunchWork&) override {
    names.emplace_back(launcher);
  }
  void end() override {}
  [[nodiscard]] std::map<std::string, int> counts() const {
    std::map<std::string, int> all;
    for (const std::string& name : names) ++all[name];
    return all;
  }

  std::vector<std::string> names;  // in order
};

}  // namespace bigbigan
