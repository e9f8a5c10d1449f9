// The processes that a launcher started together: one rank each.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "engine/comm/communicator.h"
#include "engine/util/deadline.h"
#include "kernels/common/error.h"

namespace bigbigan {

class World {
 public:
  virtual ~World() = default;
  // Of this process with all others. One thread at a time.
  [[nodiscard]] virtual Communicator& communicator() = 0;
  // How many of the processes are on this one's host.
  [[nodiscard]] virtual int local_size() const = 0;
  // The host's name.
  [[nodiscard]] virtual std::string host() const = 0;
  // Ends the processes of all ranks; mpirun ends with `code`. From any thread; no destructor runs.
  [[noreturn]] virtual void abort(ExitCode code) = 0;
};

// Joins the processes that mpirun started, or forms a world of one. Throws Error{kConfig} where a
// launcher has started several processes that would not find each other. A rank that does not come
// ends the others as limit_setup() does, after kSetupSeconds or what
// BIGBIGAN_RANKS__SETUP_SECONDS says: no other configuration is known yet.
std::unique_ptr<World> join_world();

inline constexpr double kSetupSeconds = 600;

// For what ranks do together before a Watchdog can name the late one: unless the result is gone
// after `seconds`, this rank says that others have not come, and ends with kPeerLost, which ends
// all. Nothing for a world of one.
[[nodiscard]] std::unique_ptr<Deadline> limit_setup(int rank, int size, double seconds);

// Runs `body`, which returns an exit code. In a world of several ranks an Error is reported with
// the number of its rank and ends all of them: by rank 0 where all meet the same one. Where nobody
// else could know of it, an Error is simply thrown.
int run_rank(World& world, std::string_view program, const std::function<int()>& body);

// The text of rank `root`, on all.
std::string broadcast_text(Communicator& comm, const std::string& text, int root);
// The texts of all ranks, in their order.
std::vector<std::string> gather_texts(Communicator& comm, const std::string& text);

// A world of this process alone.
std::unique_ptr<World> world_of_one();
// Throws Error{kConfig}: `launcher` started several processes, this one finds `found`.
[[noreturn]] void refuse_launch(std::string_view launcher, int ranks, std::string_view found);

}  // namespace bigbigan
