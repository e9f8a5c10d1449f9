#include "engine/world/launcher.h"

#include <array>
#include <charconv>
#include <string_view>

namespace bigbigan {
namespace {

struct Trace {
  const char* launcher;
  const char* size;  // variables with the number of processes, and of this one
  const char* rank;
  bool has_mpi;
};
// Slurm's SLURM_NTASKS is set in a batch script too, where one process stands alone: only srun sets
// the number of its step.
constexpr std::array<Trace, 4> kTraces = {
    {{"mpirun", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", true},
     {"mpiexec", "PMI_SIZE", "PMI_RANK", true},
     {"srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", false},
     {"torchrun", "WORLD_SIZE", "RANK", false}}};

std::optional<int> integer(const char* text) {
  if (text == nullptr) return std::nullopt;
  const std::string_view value = text;
  int number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size()) return std::nullopt;
  return number;
}

}  // namespace

std::optional<Launcher> launcher_of(const std::function<const char*(const char*)>& variable) {
  const bool has_pmix = variable("PMIX_RANK") != nullptr;  // srun --mpi=pmix
  for (const Trace& trace : kTraces) {
    const std::optional<int> ranks = integer(variable(trace.size));
    if (!ranks || *ranks < 1) continue;
    return Launcher{.name = trace.launcher,
                    .ranks = *ranks,
                    .rank = integer(variable(trace.rank)).value_or(0),
                    .has_mpi = trace.has_mpi || has_pmix};
  }
  return std::nullopt;
}

}  // namespace bigbigan
