#include "train/device_of_rank.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/device.h"

namespace bigbigan {

std::string device_of_rank(World& world, const std::string& option) {
  Communicator& comm = world.communicator();
  if (comm.size() == 1 || option == "cpu") return option;
  if (option.starts_with("cuda:")) {
    if (world.local_size() == 1) return option;
    fail(ExitCode::kConfig,
         "--device {}: {} ranks on {} would share this GPU; give --device cuda, and each takes one "
         "of its own",
         option, world.local_size(), world.host());
  }
  const std::vector<std::string> gpus = gpu_names();
  const std::string mine = fmt::format("{} {}", world.host(), fmt::join(gpus, " "));
  const std::vector<std::string> views = gather_texts(comm, mine);
  if (gpus.empty()) return option;  // what is wrong with that, Device says
  const auto before = std::count(views.begin(), views.begin() + comm.rank(), mine);
  const auto all = std::count(views.begin(), views.end(), mine);
  if (all > static_cast<int64_t>(gpus.size())) {
    fail(
        ExitCode::kConfig,
        "{} ranks on {}, which has {} GPU{}: start at most one rank for each, or give --device cpu",
        all, world.host(), gpus.size(), gpus.size() == 1 ? "" : "s");
  }
  return fmt::format("cuda:{}", before);
}

}  // namespace bigbigan
