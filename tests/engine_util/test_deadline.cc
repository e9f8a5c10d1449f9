#include "engine/util/deadline.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <memory>

using namespace bigbigan;

TEST_CASE("deadline: work that ends in time, and work that does not") {
  std::atomic<bool> done = false;
  CHECK(ends_within(60, [&] { done = true; }));
  CHECK(done);

  // Left behind, it keeps what it holds.
  std::promise<void> release;
  auto over = std::make_shared<std::promise<void>>();
  std::future<void> end = over->get_future();
  CHECK_FALSE(ends_within(0.01, [over = std::move(over), gate = release.get_future().share()] {
    gate.wait();
    over->set_value();
  }));
  release.set_value();
  end.wait();
}

TEST_CASE("deadline: what is gone before has no consequences, what is not has") {
  std::atomic<int> calls = 0;
  {
    const Deadline early(3600, [&] { ++calls; });
  }
  CHECK(calls == 0);
  std::promise<void> called;
  const Deadline late(0.01, [&] { called.set_value(); });
  called.get_future().wait();
}
