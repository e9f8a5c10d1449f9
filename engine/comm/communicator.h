// What ranks that share one global batch say to each other. Collectives are called by all ranks in
// the same order; sums are formed in rank order, so every rank gets the same bits on every run.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/common/view.h"

namespace bigbigan {

class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int size() const = 0;
  // values := sum over ranks; f32, f64, bf16 (added in f32, rounded once), i32 or i64.
  virtual void all_reduce_sum(View values) = 0;
  // mine := the rank()-th of size() equal parts of the sum over ranks of `values`; `mine` may be
  // that part of `values`, whose other parts are then undefined.
  virtual void reduce_scatter_sum(View values, View mine) = 0;
  // The same two, but launches that follow may run before they are done: nobody touches `values`
  // until finish_sums(), after which launches see all sums that were started.
  virtual void start_sum(View values) { all_reduce_sum(values); }
  virtual void start_reduce_scatter_sum(View values, View mine) {
    reduce_scatter_sum(values, mine);
  }
  virtual void finish_sums() {}
  // received[r] := send of rank r; `received` has shape (size, send...), and `send` may be its part
  // of this rank.
  virtual void all_gather(ConstView send, View received) = 0;
  virtual void broadcast(View values, int root) = 0;
  virtual void barrier() = 0;
};

// Of a context's communicator, which may be null: ranks that share its batch. One moves nothing:
// what only makes moving cheaper (rounded gradients, parts of arrays, a second stream) is left out.
inline int rank_count(const Communicator* comm) { return comm == nullptr ? 1 : comm->size(); }

// One rank, alone.
class SelfCommunicator final : public Communicator {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int size() const override { return 1; }
  void all_reduce_sum(View) override {}
  void reduce_scatter_sum(View values, View mine) override;
  void all_gather(ConstView send, View received) override;
  void broadcast(View, int) override {}
  void barrier() override {}
};

// Throws Error{kInternal} unless `mine` is one of `ranks` equal parts of `values`.
void check_parts(ConstView values, ConstView mine, int ranks);

// Runs body(communicator) on `ranks` host threads that form one world, and joins them. The first
// exception of a rank is rethrown; the others are released from their collectives with an Error of
// kind kPeerLost.
void run_thread_ranks(int ranks, const std::function<void(Communicator&)>& body);

}  // namespace bigbigan
