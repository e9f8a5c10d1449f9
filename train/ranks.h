// What the ranks of one training run agree on.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/io/vfs.h"
#include "engine/params/param_store.h"
#include "engine/world/watchdog.h"
#include "engine/world/world.h"
#include "train/config.h"

namespace bigbigan {

class Ranks {
 public:
  // A run of one rank.
  Ranks();
  // Makes the communicator of the ranks' GPUs, with the help of one on the host.
  using DeviceMaker = std::function<std::unique_ptr<DeviceCommunicator>(Communicator& bootstrap)>;
  // `run` exists. Several ranks: looks whether all see it and puts a watchdog on their collectives,
  // which ends them with kPeerLost when one is late. `make_device`: of a rank that computes on a
  // GPU. Throws Error{kConfig} naming the ranks that do not see the run, or compute on another kind
  // of device. Called by all ranks, like every function below that says so.
  Ranks(World& world, Vfs& vfs, const Vfs::Path& run, const RanksConfig& config,
        const DeviceMaker& make_device);
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  [[nodiscard]] int rank() const { return comm_ ? comm_->rank() : 0; }
  [[nodiscard]] int size() const { return comm_ ? comm_->size() : 1; }
  // Rank 0 alone writes: logs, pictures, checkpoints.
  [[nodiscard]] bool is_root() const { return rank() == 0; }
  // For the context of the step, on the memory of its device; null for one rank.
  [[nodiscard]] Communicator* communicator() const {
    return watched_device_ ? watched_device_.get() : comm_;
  }

  // This rank's images of each micro-batch: [first, first + count).
  struct Share {
    int64_t first = 0, count = 0;
  };
  // Throws Error{kConfig} where the batch does not divide.
  [[nodiscard]] Share share(const TrainConfig& train) const;

  using Facts = std::vector<std::pair<std::string, std::string>>;  // name, value
  // Called by all. Throws Error{kConfig}, on all alike, unless all have the facts of rank 0: names
  // the first rank and fact that differ.
  void require_equal(const Facts& facts) const;
  // Called by all: whether it is true for any rank.
  [[nodiscard]] bool any(bool mine) const;
  // Called by all: the text of rank 0.
  [[nodiscard]] std::string from_root(const std::string& text) const;
  // Called by all: waits for all.
  void meet() const;
  // Called by all. Throws Error{kNumerical}, on all alike, where a rank holds other weights than
  // rank 0; names it.
  void compare_replicas(std::span<ParamStore* const> stores, int64_t step) const;

  void begin_step(int64_t step, double last_seconds) const;
  // While it lives, this rank waits for its GPU, and so for those of the others. Called by all.
  [[nodiscard]] Watchdog::Inside waiting_for_device() const {
    return {device_ ? watchdog_.get() : nullptr, Watchdog::kDevice, 0};
  }
  // Stays for ever where a collective of the GPUs has failed: what came of it must not be used, and
  // the watchdog, which lets the rank that is to blame speak first, ends all.
  void stay_if_device_failed() const;
  // While it lives, the limits of another phase hold.
  class InPhase {
   public:
    InPhase(const Ranks& ranks, Phase phase);
    ~InPhase();
    InPhase(const InPhase&) = delete;
    InPhase& operator=(const InPhase&) = delete;

   private:
    Watchdog* watchdog_;
    Phase before_ = Phase::kSetup;
  };

 private:
  std::shared_ptr<DeviceCommunicator> device_;
  std::unique_ptr<Watchdog> watchdog_;
  std::unique_ptr<WatchedCommunicator> watched_, watched_device_;
  Communicator* comm_ = nullptr;  // on the host
};

// Leaves RUN/errors/rank-NNNNN.json: what a rank ended with. Failures to write are ignored.
void write_error_record(Vfs& vfs, const Vfs::Path& run, int rank, ExitCode code,
                        const std::string& message, std::span<const Collective> recent = {});

}  // namespace bigbigan
