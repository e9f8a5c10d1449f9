// A build without MPI: one process alone.
#include <cstdlib>

#include "engine/world/launcher.h"
#include "engine/world/world.h"

namespace bigbigan {

std::unique_ptr<World> join_world() {
  const auto launcher = launcher_of([](const char* name) { return std::getenv(name); });
  if (launcher && launcher->ranks > 1) {
    refuse_launch(launcher->name, launcher->ranks, "this build has no MPI (BIGBIGAN_MPI=OFF)");
  }
  return world_of_one();
}

}  // namespace bigbigan
