// What the environment says about the launcher that started this process.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace bigbigan {

struct Launcher {
  std::string name;      // "mpirun", "srun", ...
  int ranks = 1;         // processes that it started together
  int rank = 0;          // of this one
  bool has_mpi = false;  // MPI_Init finds the others
};

// `variable(name)`: the value of an environment variable, or null. Nothing where no launcher has
// left a trace; one that started a single process counts.
std::optional<Launcher> launcher_of(const std::function<const char*(const char*)>& variable);

}  // namespace bigbigan
