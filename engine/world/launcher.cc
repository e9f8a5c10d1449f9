#include "engine/world/launcher.h"

#include <array>
#include <charconv>
#include <string_view>

namespace bigbigan {
namespace {

struct Trace {
  const char* launcher;
  const char* size;  // variable with the number of processes
  bool has_mpi;
};
// Slurm's SLURM_NTASKS is set in a batch script too, where one process stands alone: only srun sets
// the number of its step.
constexpr std::array<Trace, 4> kTraces = {{{"mpirun", "OMPI_COMM_WORLD_SIZE", true},
                                           {"mpiexec", "PMI_SIZE", true},
                                           {"srun", "SLURM_STEP_NUM_TASKS", false},
                                           {"torchrun", "WORLD_SIZE", false}}};

}  // namespace

std::optional<Launcher> launcher_of(const std::function<const char*(const char*)>& variable) {
  const bool has_pmix = variable("PMIX_RANK") != nullptr;  // srun --mpi=pmix
  for (const Trace& trace : kTraces) {
    const char* text = variable(trace.size);
    if (text == nullptr) continue;
    const std::string_view value = text;
    Launcher launcher{trace.launcher, 0, trace.has_mpi || has_pmix};
    const auto [end, error] =
        std::from_chars(value.data(), value.data() + value.size(), launcher.ranks);
    if (error == std::errc() && end == value.data() + value.size() && launcher.ranks >= 1) {
      return launcher;
    }
  }
  return std::nullopt;
}

}  // namespace bigbigan
