#include "engine/comm/communicator.h"

#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <string_view>
#include <thread>

#include "engine/comm/ordered_sum.h"

namespace bigbigan {
namespace {

// What a rank brings to a collective.
struct Staged {
  std::string_view collective;
  DType dtype = DType::kU8;
  std::vector<std::byte> bytes;
};

// The meeting place of N thread-ranks: a barrier that can be broken, and one staging place per
// rank.
class ThreadWorld {
 public:
  explicit ThreadWorld(int size) : staged(size), size_(size) {}

  void arrive_and_wait() {
    std::unique_lock lock(mutex_);
    throw_if_broken();
    const uint64_t phase = phase_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++phase_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return phase_ != phase || broken_; });
    if (phase_ == phase) throw_if_broken();
  }

  void break_up() {
    const std::lock_guard lock(mutex_);
    broken_ = true;
    changed_.notify_all();
  }

  std::vector<Staged> staged;

 private:
  void throw_if_broken() const {
    if (broken_) fail(ExitCode::kPeerLost, "communicator: another rank has failed");
  }

  int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  uint64_t phase_ = 0;
  bool broken_ = false;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(ThreadWorld& world, int rank) : world_(world), rank_(rank) {}
  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int size() const override { return static_cast<int>(world_.staged.size()); }

  void all_reduce_sum(View values) override {
    exchange("all_reduce_sum", values, [&] {
      std::vector<const std::byte*> parts;
      for (const Staged& part : world_.staged) parts.push_back(part.bytes.data());
      add_in_rank_order(parts, values);
    });
  }

  void reduce_scatter_sum(View values, View mine) override {
    check_parts(values, mine, size());
    exchange("reduce_scatter_sum", values, [&] {
      std::vector<const std::byte*> parts;
      for (const Staged& part : world_.staged) {
        parts.push_back(part.bytes.data() + rank_ * mine.bytes());
      }
      add_in_rank_order(parts, mine);
    });
  }

  void all_gather(ConstView send, View received) override {
    check(received.bytes() == send.bytes() * size(),
          "all_gather: receives {} bytes, expected {} x {}", received.bytes(), size(),
          send.bytes());
    exchange("all_gather", send, [&] {
      auto* out = static_cast<std::byte*>(received.data);
      for (const Staged& part : world_.staged) {
        std::memcpy(out, part.bytes.data(), part.bytes.size());
        out += part.bytes.size();
      }
    });
  }

  void broadcast(View values, int root) override {
    exchange("broadcast", values, [&] {
      std::memcpy(values.data, world_.staged[root].bytes.data(), world_.staged[root].bytes.size());
    });
  }

  void barrier() override { world_.arrive_and_wait(); }

 private:
  // Stages this rank's bytes, waits for all, runs `read`, waits until all have read.
  template <class Read>
  void exchange(std::string_view collective, ConstView values, const Read& read) {
    const auto* bytes = static_cast<const std::byte*>(values.data);
    Staged& mine = world_.staged[rank_];
    mine.collective = collective;
    mine.dtype = values.dtype;
    mine.bytes.assign(bytes, bytes + values.bytes());
    world_.arrive_and_wait();
    for (const Staged& other : world_.staged) {
      check(other.collective == collective && other.dtype == mine.dtype &&
                other.bytes.size() == mine.bytes.size(),
            "communicator: rank {} is in {} of {} bytes of {}, another in {} of {} bytes of {}",
            rank_, collective, mine.bytes.size(), name_of(mine.dtype), other.collective,
            other.bytes.size(), name_of(other.dtype));
    }
    read();
    world_.arrive_and_wait();
  }

  ThreadWorld& world_;
  int rank_;
};

}  // namespace

void check_parts(ConstView values, ConstView mine, int ranks) {
  check(mine.dtype == values.dtype && mine.elems() * ranks == values.elems(),
        "reduce_scatter_sum: a part of {} of {} elements among {} ranks", mine.elems(),
        values.elems(), ranks);
}

void SelfCommunicator::reduce_scatter_sum(View values, View mine) {
  check_parts(values, mine, 1);
  if (mine.data != values.data) std::memcpy(mine.data, values.data, values.bytes());
}

void SelfCommunicator::all_gather(ConstView send, View received) {
  check(received.bytes() == send.bytes(), "all_gather: receives {} bytes, expected {}",
        received.bytes(), send.bytes());
  if (received.data != send.data) std::memcpy(received.data, send.data, send.bytes());
}

void run_thread_ranks(int ranks, const std::function<void(Communicator&)>& body) {
  check(ranks >= 1, "communicator: a world of {} ranks", ranks);
  ThreadWorld world(ranks);
  std::mutex mutex;
  std::exception_ptr first;
  std::vector<std::thread> threads;
  threads.reserve(ranks);
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      ThreadCommunicator communicator(world, rank);
      try {
        body(communicator);
      } catch (...) {
        {
          const std::lock_guard lock(mutex);
          if (!first) first = std::current_exception();
        }
        world.break_up();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  if (first) std::rethrow_exception(first);
}

}  // namespace bigbigan
