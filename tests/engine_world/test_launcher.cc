// What the environment tells of a launcher.
#include <catch2/catch.hpp>
#include <map>

#include "engine/world/launcher.h"

using namespace bigbigan;

namespace {

std::optional<Launcher> launcher_with(const std::map<std::string, std::string>& variables) {
  return launcher_of([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

}  // namespace

TEST_CASE("launcher: none, and each by its own variable") {
  CHECK_FALSE(launcher_with({}));
  struct Row {
    const char *variable, *rank, *name;
    bool has_mpi;
  };
  for (const Row& row : {Row{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "mpirun", true},
                         Row{"PMI_SIZE", "PMI_RANK", "mpiexec", true},
                         Row{"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "srun", false},
                         Row{"WORLD_SIZE", "RANK", "torchrun", false}}) {
    INFO(row.variable);
    const auto launcher = launcher_with({{row.variable, "8"}, {row.rank, "5"}});
    REQUIRE(launcher);
    CHECK(launcher->name == row.name);
    CHECK(launcher->ranks == 8);
    CHECK(launcher->rank == 5);
    CHECK(launcher->has_mpi == row.has_mpi);
  }
}

TEST_CASE("launcher: srun with PMIx has MPI, a batch script has no launcher") {
  const auto pmix = launcher_with({{"SLURM_STEP_NUM_TASKS", "4"}, {"PMIX_RANK", "2"}});
  REQUIRE(pmix);
  CHECK(pmix->has_mpi);
  CHECK_FALSE(launcher_with({{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}}));
  CHECK(launcher_with({{"OMPI_COMM_WORLD_SIZE", "2"}, {"SLURM_STEP_NUM_TASKS", "1"}})->name ==
        "mpirun");
}

TEST_CASE("launcher: what is no number of processes is no trace") {
  for (const char* text : {"", "0", "-1", "many", "8x", "99999999999999"}) {
    INFO(text);
    CHECK_FALSE(launcher_with({{"WORLD_SIZE", text}}));
  }
}
