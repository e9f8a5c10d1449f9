// Sums of gradients over ranks, bucket by bucket.
#include "engine/optim/gradient_reducer.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "tests/harness/recording_communicator.h"
#include "tests/harness/values.h"

using namespace bigbigan;

namespace {

constexpr int64_t kBucket = 64 * sizeof(float);  // holds c, d and e; and b with a

// Entries of 100, 16, 48, 1 and 32 elements: 112, 16, 48, 16 and 32 with their padding. The fourth
// gets no gradient.
struct Weights {
  explicit Weights(DType dtype = DType::kF32, Communicator* comm = nullptr,
                   int64_t bucket_bytes = kBucket, bool is_sharded = false)
      : ctx{.exec = CpuExec{}, .allocator = &allocator, .comm = comm, .dtype = dtype} {
    for (const auto& [name, elems] : {std::pair("a", 100), std::pair("b", 16), std::pair("c", 48),
                                      std::pair("d", 1), std::pair("e", 32)}) {
      const Param param = store.add(name, {elems}, Init::kZeros);
      if (std::string(name) == "d") store.freeze(param);
    }
    store.allocate(ctx, true, {.bucket_bytes = bucket_bytes, .is_sharded = is_sharded});
  }

  HostAllocator allocator;
  Context ctx;
  ParamStore store{"weights"};
};

// What a communicator was asked to sum: [begin, end) of the flat gradient.
using Ranges = std::vector<std::pair<int64_t, int64_t>>;
Ranges started(const RecordingCommunicator& comm, const ParamStore& store) {
  Ranges ranges;
  for (const ConstView& view :
       comm.of(store.is_sharded() ? "start_reduce_scatter_sum" : "start_sum")) {
    const int64_t begin = view.as<float>() - store.grad.as<float>();
    ranges.emplace_back(begin, begin + view.elems());
  }
  return ranges;
}

// A rank's gradients, entry behind entry, of both signs.
std::vector<double> gradients(int rank, const ParamStore& store) {
  std::vector<double> values(store.parameter_count());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(std::sin(1.0 + rank * 1.7 + 0.3 * static_cast<double>(i)));
  }
  return values;
}

void write_gradients(const ParamStore& store, const std::vector<double>& values) {
  auto from = values.begin();
  for (const auto& entry : store.entries()) {
    const auto to = from + entry.shape.elems();
    write(store.of(store.grad, entry), {from, to});
    from = to;
  }
}

std::vector<double> read_gradients(const ParamStore& store) {
  std::vector<double> values;
  for (const auto& entry : store.entries()) {
    const std::vector<double> some = read(store.of(store.grad, entry));
    values.insert(values.end(), some.begin(), some.end());
  }
  return values;
}

// The gradients of all ranks after two passes; where each has its pieces of the sum, gathered.
std::vector<std::vector<double>> reduced(int ranks, int64_t bucket_bytes, DType payload,
                                         bool is_sharded = false) {
  std::vector<std::vector<double>> all(ranks);
  run_thread_ranks(ranks, [&](Communicator& comm) {
    Weights w(DType::kF32, &comm, bucket_bytes, is_sharded);
    const ParamStore& store = w.store;
    GradientReducer reducer(w.ctx, w.store, payload);
    for (int pass = 0; pass < 2; ++pass) {
      write_gradients(store, gradients(comm.rank() + pass, store));
      for (const int64_t entry : {4, 1, 2}) reducer.ready(entry);  // "a" has no part in it
      reducer.finish();
    }
    for (int64_t i = 0; store.is_sharded() && i < store.pieces(); ++i) {
      const auto [begin, end] = store.buckets()[i];
      comm.all_gather(store.piece(store.grad, i), store.grad.slice(begin, end));
    }
    all[comm.rank()] = read_gradients(store);
  });
  return all;
}

}  // namespace

TEST_CASE("gradient buckets: cut from the end, each started when its last gradient is complete") {
  const bool is_sharded = GENERATE(false, true);
  RecordingCommunicator comm(3);
  Weights w(DType::kF32, &comm, kBucket, is_sharded);
  // Those of a sharded store divide by three times 64 bytes.
  const int64_t middle = is_sharded ? 144 : 128;
  const std::pair<int64_t, int64_t> last{middle, middle + 96}, first{0, middle};
  GradientReducer reducer(w.ctx, w.store, DType::kF32);
  // Entries as they become ready, each with the bucket that it completes.
  using Completed = std::optional<std::pair<int64_t, int64_t>>;
  using Order = std::vector<std::pair<int64_t, Completed>>;
  for (const Order& order : {Order{{4, {}}, {2, last}, {1, {}}, {0, first}},
                             Order{{0, {}}, {2, {}}, {1, first}, {4, last}}}) {
    comm.calls.clear();
    Ranges expected;
    for (const auto& [entry, completed] : order) {
      reducer.ready(entry);
      if (completed) expected.push_back(*completed);
      CHECK(started(comm, w.store) == expected);
    }
    CHECK(comm.of("finish_sums").empty());
    reducer.finish();
    CHECK(comm.calls.size() == 3);  // both buckets, and their end
    CHECK(comm.calls.back().name == "finish_sums");
  }
}

TEST_CASE("gradient buckets: what had no part in a pass is summed at its end, in a fixed order") {
  RecordingCommunicator comm(2);
  Weights w(DType::kF32, &comm);
  GradientReducer reducer(w.ctx, w.store, DType::kF32);
  reducer.ready(1);
  reducer.ready(2);
  CHECK(comm.calls.empty());
  reducer.finish();
  CHECK(started(comm, w.store) == Ranges{{128, 224}, {0, 128}});
  // The next pass begins anew.
  reducer.ready(2);
  CHECK(started(comm, w.store).size() == 2);
  reducer.ready(4);
  CHECK(started(comm, w.store).size() == 3);
}

TEST_CASE("gradient buckets: of any size, all of the array once") {
  for (const int64_t bytes : {1, 64, 200, 500, 1000, 100000}) {
    RecordingCommunicator comm(2);
    Weights w(DType::kF32, &comm, bytes);
    GradientReducer reducer(w.ctx, w.store, DType::kF32);
    reducer.finish();
    int64_t end = w.store.grad.elems();
    for (const auto& range : started(comm, w.store)) {
      CHECK(range.second == end);
      CHECK(((end - range.first) * int64_t{sizeof(float)} >= bytes || range.first == 0));
      end = range.first;
    }
    CHECK(end == 0);
  }
}

TEST_CASE("gradient buckets: a gradient that is complete twice is an error that names it") {
  RecordingCommunicator comm(2);
  Weights w(DType::kF32, &comm);
  GradientReducer reducer(w.ctx, w.store, DType::kF32);
  reducer.ready(1);
  CHECK_THROWS_WITH(reducer.ready(1), "weights: the gradient of b is complete twice");
}

TEST_CASE("gradient buckets: the sums of any bucket are those of the whole array") {
  for (const int ranks : {1, 2, 3, 4}) {
    std::vector<std::vector<double>> expected(ranks);
    run_thread_ranks(ranks, [&](Communicator& comm) {
      Weights w(DType::kF32, &comm);
      write_gradients(w.store, gradients(comm.rank() + 1, w.store));
      comm.all_reduce_sum(w.store.grad.view());
      expected[comm.rank()] = read_gradients(w.store);
    });
    for (const int64_t bytes : {int64_t{1}, kBucket, int64_t{100000}}) {
      CHECK(reduced(ranks, bytes, DType::kF32) == expected);
      CHECK(reduced(ranks, bytes, DType::kF32, true) == expected);
    }
  }
}

TEST_CASE("gradient buckets: as bf16, each gradient and their sum are rounded once") {
  constexpr double kHalfUlp = 1.0 / 256;  // of a number with 8 bits, relative, at most
  for (const int ranks : {1, 2, 4}) {
    const auto narrow = reduced(ranks, kBucket, DType::kBF16);
    const auto exact = reduced(ranks, kBucket, DType::kF32);
    for (const auto& of_rank : narrow) CHECK(of_rank == narrow[0]);
    CHECK(reduced(ranks, kBucket, DType::kBF16, true) == narrow);
    Weights w;
    std::vector<double> magnitude(w.store.parameter_count());
    for (int r = 0; r < ranks; ++r) {
      const std::vector<double> mine = gradients(r + 1, w.store);
      for (size_t i = 0; i < mine.size(); ++i) magnitude[i] += std::abs(mine[i]);
    }
    double worst = 0;
    for (size_t i = 0; i < magnitude.size(); ++i) {
      const double error = std::abs(narrow[0][i] - exact[0][i]);
      // The second rounding is of a sum that may be larger by the first ones.
      CHECK(error <= kHalfUlp * (magnitude[i] + (1 + kHalfUlp) * magnitude[i]));
      worst = std::max(worst, error);
    }
    CHECK((worst > 0) == (ranks > 1));  // it is rounded, where it travels
  }
}

TEST_CASE("gradient buckets: gradients in f64 do not travel as bf16") {
  RecordingCommunicator comm(2);
  Weights w(DType::kF64, &comm);
  CHECK_THROWS_WITH(GradientReducer(w.ctx, w.store, DType::kBF16),
                    "weights: gradients of f64 cannot travel as bf16: as they are, or f32 as bf16");
}
