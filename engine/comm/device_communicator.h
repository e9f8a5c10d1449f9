// Collectives between GPUs. They are enqueued on a stream as kernels are: a call returns before its
// sum is there, and what goes wrong after that is told to whoever asks.
#pragma once

#include <memory>
#include <string>

#include "any_exec.h"
#include "engine/comm/communicator.h"

namespace bigbigan {

class DeviceCommunicator : public Communicator {
 public:
  // What has gone wrong with collectives whose call has returned: a rank that is lost, for one.
  // Empty: nothing so far. From any thread; waits for nothing.
  [[nodiscard]] virtual std::string error() const = 0;
  // Gives up what is enqueued, so that launches behind it end; further calls throw. From any
  // thread, and twice without harm. May hang: give it to ends_within (engine/util/deadline.h).
  virtual void abort() noexcept = 0;
};

// The ranks of `bootstrap`, each with the GPU of its `exec`; collectives take their place in the
// order of that exec's stream, and can be recorded (Accelerator::record). Called by all, in the
// thread in which the GPU is current. `bootstrap`, which also makes the barrier, and the stream
// outlive the communicator; recordings of its collectives do not.
//
// Sums are formed by NCCL in an order that depends on the number of ranks and the size alone; bf16
// is rounded at each rank. Throws Error{kSystem} where NCCL is missing, too old or fails, and
// Error{kPeerLost} where a rank does not join, or keeps a collective from being enqueued, for
// `seconds`.
std::unique_ptr<DeviceCommunicator> make_nccl_communicator(Communicator& bootstrap,
                                                           const AnyExec& exec, double seconds);

}  // namespace bigbigan
