// The flat arrays of a store, whole and divided among ranks.
#include "engine/params/param_store.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <numeric>

#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

constexpr std::array<int64_t, 7> kElems = {5, 100, 16, 0, 48, 1, 300};

struct Weights {
  Weights(Communicator* comm, const StoreDivision& division)
      : ctx{.exec = CpuExec{}, .allocator = &allocator, .comm = comm} {
    for (const int64_t elems : kElems) store.add(std::to_string(names++), {elems}, Init::kOnes);
    store.allocate(ctx, true, division);
  }

  int names = 0;
  HostAllocator allocator;
  Context ctx;
  ParamStore store{"weights", /*is_averaged=*/true};
};

std::vector<double> counting(int64_t elems, double first) {
  std::vector<double> values(elems);
  std::iota(values.begin(), values.end(), first);
  return values;
}

}  // namespace

TEST_CASE(
    "parameters: every entry lies whole in one bucket, and the buckets are all of the array") {
  for (const int64_t bytes : {1, 200, 500, 100000}) {
    for (const int ranks : {1, 2, 3}) {
      run_thread_ranks(ranks, [&](Communicator& comm) {
        const Weights w(&comm, {.bucket_bytes = bytes, .is_sharded = true});
        const ParamStore& store = w.store;
        int64_t end = store.value.elems();
        for (const auto& bucket : store.buckets()) {
          check(bucket.end == end && (bucket.end - bucket.begin) % (16 * ranks) == 0,
                "bucket {} to {}, {} expected", bucket.begin, bucket.end, end);
          end = bucket.begin;
        }
        check(end == 0, "{} elements are in no bucket", end);
        int64_t behind = 0;  // of the entry before
        for (const auto& entry : store.entries()) {
          const int64_t last = entry.offset + entry.shape.elems();
          check(std::ranges::count_if(store.buckets(),
                                      [&](const auto& bucket) {
                                        return bucket.begin <= entry.offset && last <= bucket.end;
                                      }) > 0 &&
                    entry.offset >= behind && entry.offset % 16 == 0,
                "entry {} at {}", entry.name, entry.offset);
          behind = last;
        }
      });
    }
  }
}

TEST_CASE("parameters: the pieces of all ranks are the whole of a sharded array") {
  for (const int64_t bytes : {1, 500, 100000}) {
    for (const int ranks : {1, 2, 3}) {
      run_thread_ranks(ranks, [&](Communicator& comm) {
        Weights w(&comm, {.bucket_bytes = bytes, .is_sharded = true});
        ParamStore& store = w.store;
        const int64_t elems = store.value.elems();
        // Each rank numbers its pieces of the weights as a rank alone would.
        const std::vector<double> numbers = counting(elems, 1);
        write(store.grad, numbers);
        for (int64_t i = 0; i < store.pieces(); ++i) {
          store.piece(store.value, i).copy_from(store.piece(store.grad, i));
        }
        store.gather_values();
        check(read(store.value) == numbers, "gather_values of {} bytes", bytes);
        // The averages start from them, and come whole and go again.
        store.reset_ema();
        check(store.ema.elems() * ranks == elems, "{} averages of {}", store.ema.elems(), elems);
        const std::vector<double> mine = read(store.ema);
        const Tensor whole = store.gather(store.ema);
        check(read(whole) == numbers, "gather of {} bytes", bytes);
        if (ranks > 1) store.ema.clear();
        store.scatter(whole, store.ema);
        check(read(store.ema) == mine, "scatter of {} bytes", bytes);
        // A rank's pieces are all of its part, each once.
        write(store.adam_m, counting(store.adam_m.elems(), 0));
        std::vector<double> found;
        for (int64_t i = 0; i < store.pieces(); ++i) {
          const std::vector<double> piece = read(store.piece(store.adam_m, i));
          found.insert(found.end(), piece.begin(), piece.end());
        }
        std::ranges::sort(found);
        check(found == read(store.adam_m), "pieces of a part, of {} bytes", bytes);
      });
    }
  }
}

TEST_CASE("parameters: a store that is not sharded is one piece, and keeps averages if it is to") {
  Weights w(nullptr, {.bucket_bytes = 1, .is_sharded = true});  // a rank alone
  CHECK(w.store.pieces() == 1);
  CHECK(w.store.buckets().size() == kElems.size() - 1);  // one has no element of its own
  CHECK(w.store.piece(w.store.value, 0).elems() == w.store.value.elems());
  CHECK(w.store.ema.elems() == w.store.value.elems());
  ParamStore plain("plain");
  plain.add("w", {4}, Init::kOnes);
  plain.allocate(w.ctx, true);
  plain.initialize(1);
  CHECK_FALSE(plain.ema);
  CHECK_FALSE(plain.piece(plain.ema, 0));
}

TEST_CASE("parameters: every piece finds the normalised weights where they begin") {
  for (const int ranks : {1, 2, 3}) {
    run_thread_ranks(ranks, [](Communicator& comm) {
      HostAllocator allocator;
      const Context ctx{.exec = CpuExec{}, .allocator = &allocator, .comm = &comm};
      ParamStore store("weights");
      for (const Shape& shape : {Shape{4, 3, 3, 2}, Shape{31, 33}}) {
        store.add("bias of " + to_string(shape), {shape[0]}, Init::kZeros);
        const Param weight = store.add(to_string(shape), shape, Init::kOrthogonal);
        const Buffer u =
            store.add_buffer("u of " + to_string(shape), {shape[0]}, BufferKind::kDirection, 0);
        store.normalize(weight, u);
      }
      store.allocate(ctx, true, {.bucket_bytes = 500, .is_sharded = true});
      for (int64_t i = 0; i < store.pieces(); ++i) {
        const NormalizedWeights weights = store.normalized_weights(i);
        const auto* piece = store.piece(store.value, i).view().as<float>();
        check(weights.size() == 2 && weights.sigmas.elems() == 2, "{} weights", weights.size());
        for (const int64_t k : {0, 1}) {
          const ParamStore::Entry& entry = store.entries()[1 + 2 * k];
          const auto& [begin, u, v] = weights.list[k];
          check(entry.normalized && piece + begin == store.value.view().as<float>() + entry.offset,
                "{} begins at {}", entry.name, begin);
          check(u.elems() == entry.shape[0] && u.elems() * v.elems() == entry.shape.elems(),
                "{} has u {} and v {}", entry.name, u.shape, v.shape);
        }
      }
    });
  }
}

TEST_CASE("parameters: weights are declared as normalised in the order of the array") {
  ParamStore store("weights");
  const Param first = store.add("first", {2, 3}, Init::kOrthogonal);
  const Param second = store.add("second", {2, 3}, Init::kOrthogonal);
  const Buffer u = store.add_buffer("u", {2}, BufferKind::kDirection, 0);
  CHECK(store.normalize(second, u) == 0);
  CHECK_THROWS_AS(store.normalize(first, u), Error);
  CHECK_THROWS_AS(store.normalize(second, u), Error);
}
