// A world whose ranks are threads of the test's process, as if each were a process of one host.
#pragma once

#include <cstdlib>

#include "engine/world/world.h"

namespace bigbigan {

class ThreadWorld final : public World {
 public:
  explicit ThreadWorld(Communicator& comm) : comm_(comm) {}
  [[nodiscard]] Communicator& communicator() override { return comm_; }
  [[nodiscard]] int local_size() const override { return comm_.size(); }
  [[nodiscard]] std::string host() const override { return "host"; }
  [[noreturn]] void abort(ExitCode code) override { std::_Exit(static_cast<int>(code)); }

 private:
  Communicator& comm_;
};

}  // namespace bigbigan
