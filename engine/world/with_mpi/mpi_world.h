// The ranks of an MPI program, and their collectives on host memory.
#pragma once

#include <span>
#include <vector>

#include "engine/world/world.h"

namespace bigbigan {

// Sums are formed by our own code in rank order, so that they do not depend on the MPI library and
// have the bits of thread-ranks. Before each collective the ranks compare what they are about to
// do: a rank that has left one out, or brings another size, is an Error{kInternal} naming both
// sides.
class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(int rank, int size) : rank_(rank), size_(size) {}
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return size_; }
  void all_reduce_sum(View values) override;
  void reduce_scatter_sum(View values, View mine) override;
  void all_gather(ConstView send, View received) override;
  void broadcast(View values, int root) override;
  void barrier() override;

 private:
  enum class Kind : int64_t { kSum, kPartOfSum, kGather, kBroadcast, kBarrier };
  // What a rank is about to do.
  struct Intent {
    int64_t number, kind, bytes, dtype;
    [[nodiscard]] bool operator==(const Intent&) const = default;
  };
  static std::string describe(const Intent& intent);
  void agree(Kind kind, ConstView values);
  // Every rank adds up all of it.
  void reduce_whole(View values);
  // Rank r adds up the r-th part of `values` into its `mine`, of begin[r] to begin[r + 1].
  void reduce_part(ConstView values, std::span<const int64_t> begin, View mine);
  // That, and hands it round.
  void reduce_in_parts(View values);

  int rank_, size_;
  int64_t count_ = 0;  // of collectives
  std::vector<Intent> intents_;
  std::vector<std::byte> staging_;
};

// Initialises MPI; its destructor, reached when every rank comes to its end, finalises it.
class MpiWorld final : public World {
 public:
  // Throws Error{kSystem} where MPI does not start.
  MpiWorld();
  ~MpiWorld() override;
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  [[nodiscard]] Communicator& communicator() override { return *communicator_; }
  [[nodiscard]] int local_size() const override { return local_size_; }
  [[nodiscard]] std::string host() const override { return host_; }
  [[noreturn]] void abort(ExitCode code) override;

 private:
  std::unique_ptr<MpiCommunicator> communicator_;
  int local_size_ = 1;
  std::string host_;
};

}  // namespace bigbigan
