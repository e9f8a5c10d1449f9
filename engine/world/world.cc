#include "engine/world/world.h"

#include <unistd.h>

#include <chrono>
#include <thread>

#include "engine/util/host.h"
#include "engine/util/program.h"

namespace bigbigan {
namespace {

// What all ranks notice alike is reported once: the others leave rank 0 this much time.
constexpr std::chrono::milliseconds kRootFirst{500};
// Who has lost a rank leaves that one this much time to say why.
constexpr std::chrono::seconds kCauseFirst{2};

class WorldOfOne final : public World {
 public:
  [[nodiscard]] Communicator& communicator() override { return self_; }
  [[nodiscard]] int local_size() const override { return 1; }
  [[nodiscard]] std::string host() const override { return host_name(); }
  [[noreturn]] void abort(ExitCode code) override { _exit(static_cast<int>(code)); }

 private:
  SelfCommunicator self_;
};

}  // namespace

std::unique_ptr<World> world_of_one() { return std::make_unique<WorldOfOne>(); }

std::unique_ptr<Deadline> limit_setup(int rank, int size, double seconds) {
  if (size == 1) return nullptr;
  return std::make_unique<Deadline>(seconds, [=] {
    if (rank != 0) std::this_thread::sleep_for(kRootFirst);
    note(fmt::format(
        "error: rank {} on {} has waited {:.0f} s for all {} ranks to start: one is "
        "stopped, or its host is not reached. Nothing is lost: the same command starts again",
        rank, host_name(), seconds, size));
    _exit(static_cast<int>(ExitCode::kPeerLost));
  });
}

void refuse_launch(std::string_view launcher, int ranks, std::string_view found) {
  fail(ExitCode::kConfig,
       "{} started {} processes, but {}: each would train alone. Start them with "
       "`mpirun -n {} bigbigan-train ...` of the MPI that this program was built with",
       launcher, ranks, found, ranks);
}

int run_rank(World& world, std::string_view program, const std::function<int()>& body) {
  const Communicator& comm = world.communicator();
  if (comm.size() == 1) return body();
  try {
    return body();
  } catch (const std::exception&) {
    const auto [code, what] = current_failure();
    if (comm.rank() != 0) std::this_thread::sleep_for(kRootFirst);
    if (code == ExitCode::kPeerLost) std::this_thread::sleep_for(kCauseFirst);
    note(fmt::format("{}: error: rank {} on {}: {}", program, comm.rank(), world.host(), what));
    world.abort(code);
  }
  return static_cast<int>(ExitCode::kInternal);  // not reached
}

std::string broadcast_text(Communicator& comm, const std::string& text, int root) {
  auto size = static_cast<int64_t>(text.size());
  comm.broadcast({&size, {1}, DType::kI64}, root);
  std::string all = comm.rank() == root ? text : std::string(size, '\0');
  if (size > 0) comm.broadcast({all.data(), {size}, DType::kU8}, root);
  return all;
}

std::vector<std::string> gather_texts(Communicator& comm, const std::string& text) {
  std::vector<std::string> all;
  all.reserve(comm.size());
  for (int rank = 0; rank < comm.size(); ++rank) all.push_back(broadcast_text(comm, text, rank));
  return all;
}

}  // namespace bigbigan
