#include <sched.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <numeric>

#include "engine/util/thread_pool.h"
#include "kernels/common/error.h"

using namespace bigbigan;

namespace {

// How often each of n chunks ran.
std::vector<int> runs(const CpuExec& ex, int64_t n) {
  std::vector<std::atomic<int>> counts(n);
  ex.for_chunks(n, [&](int64_t i) { ++counts[i]; });
  return {counts.begin(), counts.end()};
}

}  // namespace

TEST_CASE("thread pool: every chunk runs once, whatever the number of threads") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    REQUIRE(pool.threads() == threads);
    for (const int64_t n : {0, 1, 2, 3, 31, 33, 1000}) {
      REQUIRE(runs(CpuExec{&pool}, n) == std::vector<int>(n, 1));
    }
  }
}

TEST_CASE("thread pool: many small jobs, each complete before the next") {
  for (const auto& [threads, jobs] : {std::pair(2, 5000), std::pair(4, 500)}) {
    ThreadPool pool(threads);
    const CpuExec ex{&pool};
    int64_t total = 0;
    for (int job = 0; job < jobs; ++job) {
      int64_t parts[5] = {};
      ex.for_chunks(5, [&](int64_t i) { parts[i] = i + 1; });
      total += std::accumulate(std::begin(parts), std::end(parts), int64_t{0});
    }
    REQUIRE(total == jobs * 15);
  }
}

TEST_CASE("thread pool: an exception reaches the caller after all chunks, and the pool goes on") {
  for (const int threads : {1, 2, 4}) {
    ThreadPool pool(threads);
    const CpuExec ex{&pool};
    for (int round = 0; round < 200; ++round) {
      std::atomic<int> ended = 0;
      const auto job = [&] {
        ex.for_chunks(50, [&](int64_t i) {
          if (i % 20 == 7) fail(ExitCode::kBadData, "chunk {}", i);
          ++ended;
        });
      };
      REQUIRE_THROWS_AS(job(), Error);
      REQUIRE(ended == 47);
    }
    REQUIRE(runs(ex, 10) == std::vector<int>(10, 1));
  }
}

TEST_CASE("thread pool: a job inside a job is refused, not deadlocked") {
  ThreadPool pool(3);
  const CpuExec ex{&pool};
  const auto nested = [&] { ex.for_chunks(4, [&](int64_t) { ex.for_chunks(4, [](int64_t) {}); }); };
  try {
    nested();
    FAIL("a nested job ran");
  } catch (const Error& e) {
    REQUIRE(e.code() == ExitCode::kInternal);
    REQUIRE_THAT(e.what(), Catch::Contains("job inside a job"));
  }
  REQUIRE(runs(ex, 10) == std::vector<int>(10, 1));
  // One chunk never leaves its thread.
  REQUIRE_NOTHROW(ex.for_chunks(4, [&](int64_t) { ex.for_chunks(1, [](int64_t) {}); }));
}

TEST_CASE("thread pool: ranges cover all elements in fixed chunks") {
  ThreadPool pool(2);
  std::vector<int> seen(1000);
  CpuExec{&pool}.for_range(1000, 64, [&](int64_t begin, int64_t end) {
    if (begin % 64 != 0 || end - begin > 64) fail(ExitCode::kInternal, "{} to {}", begin, end);
    for (int64_t i = begin; i < end; ++i) ++seen[i];
  });
  REQUIRE(seen == std::vector<int>(1000, 1));
}

TEST_CASE("thread pool: pools come and go") {
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(1 + i % 5);
    if (i % 2 == 0) REQUIRE(runs(CpuExec{&pool}, 7) == std::vector<int>(7, 1));
  }
  REQUIRE_THROWS_AS(ThreadPool(0), Error);
}

TEST_CASE("usable cores: at least one, at most what the affinity allows") {
  cpu_set_t before;
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  REQUIRE(usable_cores() >= 1);
  REQUIRE(usable_cores() <= CPU_COUNT(&before));
  cpu_set_t one;
  CPU_ZERO(&one);
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  CPU_SET(first, &one);
  REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
  const int cores = usable_cores();
  REQUIRE(::sched_setaffinity(0, sizeof before, &before) == 0);
  REQUIRE(cores == 1);
}
