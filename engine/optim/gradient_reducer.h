// The gradients of a store, summed over the ranks while the backward pass still forms them.
//
// Note [Gradient buckets]: one sum over a whole store could begin only when the backward pass has
// ended, and one sum per entry would pay a latency for each. So the flat gradient is cut into
// buckets of neighbouring entries. A bucket is handed to the communicator when the last of its
// gradients is complete, and travels while the pass goes on. Buckets are cut from the end of the
// array: a network declares its layers in the order of its forward pass, so the gradients of its
// last layers are complete first. Which entries a bucket holds depends on the store alone, and when
// it is complete on the recorded graph: all ranks start the same sums in the same order, those
// without samples too. Of a sharded store (Note [Sharded optimiser]) each rank gets the sum of its
// part of the bucket.
#pragma once

#include "engine/comm/communicator.h"
#include "engine/params/param_store.h"

namespace bigbigan {

class GradientReducer {
 public:
  // A context with a communicator and a store that is allocated for training; both stay as they
  // are. `payload`: the dtype in which gradients travel, their own, or bf16 for those in f32. Then
  // each of several ranks' are rounded, summed (Communicator: in f32, rounded once), and widened
  // again; the rounded ones have memory of their own. Throws Error{kConfig} for another.
  GradientReducer(const Context& ctx, ParamStore& store, DType payload);

  // The gradient of `entry` is complete, and nobody touches it until finish(). For
  // ParamStore::on_gradient_ready. Throws Error{kInternal} for an entry that was complete before.
  void ready(int64_t entry);
  // Sums what is left: buckets with entries that had no part in the pass, whose gradients are what
  // they were. For launches from here on, the store's gradient, of a sharded one this rank's pieces
  // of it, is the sum over ranks; and the next pass may begin.
  void finish();

 private:
  struct Bucket {
    int64_t entries = 0;    // that get a gradient
    int64_t waits_for = 0;  // of those
    bool is_started = false;
  };
  void start(int64_t bucket);

  Context ctx_;
  ParamStore& store_;
  std::vector<Bucket> buckets_;     // of the store
  std::vector<int64_t> bucket_of_;  // by entry
  std::vector<bool> is_ready_;      // by entry
  Tensor payload_;                  // bf16; empty where gradients stay as they are
};

}  // namespace bigbigan
