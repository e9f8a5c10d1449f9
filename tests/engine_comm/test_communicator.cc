// Thread-ranks: what collectives compute, and that no rank waits for one that has failed.
#include "engine/comm/communicator.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <mutex>

using namespace bigbigan;

namespace {

template <class T>
View view_of(std::vector<T>& values) {
  return {values.data(), {static_cast<int64_t>(values.size())}, dtype_of<T>()};
}

// Numbers whose sum depends on the order of adding.
template <class T>
std::vector<T> values_of(int rank, int64_t elems) {
  std::vector<T> values(elems);
  for (int64_t i = 0; i < elems; ++i) {
    values[i] =
        static_cast<T>(1e6 * std::sin(1.0 + rank * 1.7 + static_cast<double>(i) * (rank + 0.3)));
  }
  return values;
}

template <class T>
void check_sum(int ranks) {
  constexpr int64_t kElems = 1001;
  std::vector<T> expected(kElems, T(0));
  for (int r = 0; r < ranks; ++r) {
    const std::vector<T> values = values_of<T>(r, kElems);
    for (int64_t i = 0; i < kElems; ++i) expected[i] += values[i];
  }
  std::atomic<int> equal = 0;
  run_thread_ranks(ranks, [&](Communicator& comm) {
    std::vector<T> values = values_of<T>(comm.rank(), kElems);
    comm.all_reduce_sum(view_of(values));
    if (std::memcmp(values.data(), expected.data(), kElems * sizeof(T)) == 0) ++equal;
  });
  CHECK(equal == ranks);
}

// Each rank's part of the sum, in a place of its own or in the values'; then all parts, gathered in
// place.
template <class T>
void check_parts_of_sum(int ranks, bool in_place) {
  const int64_t part = 37, elems = part * ranks;
  std::vector<T> expected(elems, T(0));
  for (int r = 0; r < ranks; ++r) {
    const std::vector<T> values = values_of<T>(r, elems);
    for (int64_t i = 0; i < elems; ++i) expected[i] += values[i];
  }
  std::atomic<int> equal = 0, gathered = 0;
  run_thread_ranks(ranks, [&](Communicator& comm) {
    std::vector<T> values = values_of<T>(comm.rank(), elems), apart(part);
    const View here{values.data() + comm.rank() * part, {part}, dtype_of<T>()};
    const View mine = in_place ? here : view_of(apart);
    comm.reduce_scatter_sum(view_of(values), mine);
    const T* sums = expected.data() + comm.rank() * part;
    if (std::memcmp(mine.data, sums, part * sizeof(T)) == 0) ++equal;
    if (!in_place) std::copy(apart.begin(), apart.end(), here.as<T>());
    comm.all_gather(here, view_of(values));
    if (values == expected) ++gathered;
  });
  CHECK(equal == ranks);
  CHECK(gathered == ranks);
}

ExitCode code_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.code();
  }
  return ExitCode::kOk;
}

}  // namespace

TEST_CASE("ranks: sums are formed in rank order, the same bits everywhere") {
  for (const int ranks : {1, 2, 3, 4, 7}) {
    check_sum<float>(ranks);
    check_sum<double>(ranks);
    check_sum<int32_t>(ranks);
    check_sum<int64_t>(ranks);
  }
}

TEST_CASE("ranks: parts of a sum, and all parts gathered in place") {
  for (const int ranks : {2, 3, 4}) {
    for (const bool in_place : {false, true}) {
      check_parts_of_sum<float>(ranks, in_place);
      check_parts_of_sum<double>(ranks, in_place);
      check_parts_of_sum<int32_t>(ranks, in_place);
    }
  }
}

TEST_CASE("ranks: gather, broadcast and their own numbers") {
  constexpr int kRanks = 4;
  std::vector<std::vector<float>> gathered(kRanks), received(kRanks);
  run_thread_ranks(kRanks, [&](Communicator& comm) {
    std::vector<float> mine = {static_cast<float>(comm.rank()), 0.5f};
    gathered[comm.rank()].resize(2 * kRanks);
    comm.all_gather(view_of(mine), view_of(gathered[comm.rank()]));
    received[comm.rank()] = mine;
    comm.broadcast(view_of(received[comm.rank()]), 2);
  });
  for (int r = 0; r < kRanks; ++r) {
    CHECK(gathered[r] == std::vector<float>{0, 0.5f, 1, 0.5f, 2, 0.5f, 3, 0.5f});
    CHECK(received[r] == std::vector<float>{2, 0.5f});
  }
}

TEST_CASE("ranks: a barrier holds until all have come") {
  constexpr int kRanks = 3, kRounds = 200;
  std::atomic<int> arrived = 0;
  std::atomic<bool> early = false;
  run_thread_ranks(kRanks, [&](Communicator& comm) {
    for (int round = 1; round <= kRounds; ++round) {
      ++arrived;
      comm.barrier();
      if (arrived < kRanks * round) early = true;
      comm.barrier();
    }
  });
  CHECK(!early);
  CHECK(arrived == kRanks * kRounds);
}

TEST_CASE("ranks: many collectives in a row do not mix") {
  constexpr int kRanks = 3;
  std::atomic<int> wrong = 0;
  run_thread_ranks(kRanks, [&](Communicator& comm) {
    for (int64_t i = 0; i < 300; ++i) {
      std::vector<int64_t> values(1 + i % 7, i * (comm.rank() + 1));
      comm.all_reduce_sum(view_of(values));
      for (const int64_t v : values) wrong += v == 6 * i ? 0 : 1;
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("ranks: one that fails releases the others, and its error is the one reported") {
  std::mutex mutex;
  std::vector<ExitCode> others;
  const auto world = [&] {
    run_thread_ranks(4, [&](Communicator& comm) {
      if (comm.rank() == 2) fail(ExitCode::kBadData, "rank 2 cannot go on");
      std::vector<float> values(5);
      const ExitCode code = code_of([&] {
        for (;;) comm.all_reduce_sum(view_of(values));
      });
      const std::lock_guard lock(mutex);
      others.push_back(code);
    });
  };
  CHECK(code_of(world) == ExitCode::kBadData);
  CHECK(others == std::vector<ExitCode>(3, ExitCode::kPeerLost));
}

TEST_CASE("ranks: collectives that do not match are an error, not a wait or a wild read") {
  SECTION("another size") {
    const auto world = [](auto call) {
      return code_of([&] {
        run_thread_ranks(2, [&](Communicator& comm) {
          std::vector<float> values(comm.rank() == 0 ? 4 : 400);
          call(comm, values);
        });
      });
    };
    CHECK(world([](Communicator& c, auto& v) { c.all_reduce_sum(view_of(v)); }) ==
          ExitCode::kInternal);
    CHECK(world([](Communicator& c, auto& v) { c.broadcast(view_of(v), 1); }) ==
          ExitCode::kInternal);
    CHECK(world([](Communicator& c, auto& v) {
            std::vector<float> part(v.size() / 2);
            c.reduce_scatter_sum(view_of(v), view_of(part));
          }) == ExitCode::kInternal);
    CHECK(world([](Communicator& c, auto& v) {
            std::vector<float> received(2 * v.size());
            c.all_gather(view_of(v), view_of(received));
          }) == ExitCode::kInternal);
  }
  SECTION("another type") {
    CHECK(code_of([&] {
            run_thread_ranks(2, [&](Communicator& comm) {
              std::vector<float> floats(4);
              std::vector<int32_t> integers(4);
              comm.all_reduce_sum(comm.rank() == 0 ? view_of(floats) : view_of(integers));
            });
          }) == ExitCode::kInternal);
  }
  SECTION("another collective") {
    CHECK(code_of([&] {
            run_thread_ranks(2, [&](Communicator& comm) {
              std::vector<float> values(4);
              if (comm.rank() == 0) comm.all_reduce_sum(view_of(values));
              if (comm.rank() == 1) comm.broadcast(view_of(values), 0);
            });
          }) == ExitCode::kInternal);
  }
}

TEST_CASE("ranks: a world of none is refused, a rank alone copies") {
  CHECK_THROWS_AS(run_thread_ranks(0, [](Communicator&) {}), Error);
  SelfCommunicator self;
  std::vector<float> values = {1, 2}, received(2);
  self.all_reduce_sum(view_of(values));
  self.all_gather(view_of(values), view_of(received));
  CHECK(received == std::vector<float>{1, 2});
  std::vector<float> small(1);
  CHECK_THROWS_AS(self.all_gather(view_of(values), view_of(small)), Error);
  values = {3, 4};
  self.reduce_scatter_sum(view_of(values), view_of(received));
  CHECK(received == std::vector<float>{3, 4});
  CHECK_THROWS_AS(self.reduce_scatter_sum(view_of(values), view_of(small)), Error);
}
