// Collectives as bigbigan-bench measures them: what counts as wrong, sizes, bandwidths, columns.
#include <catch2/catch.hpp>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "kernels/bench/collective_benchmark.h"
#include "tests/e2e/process.h"

using namespace bigbigan;
using Json = nlohmann::json;

namespace {

// Another communicator, with a fault in one element of what its floating-point collectives deliver.
class FaultyCommunicator final : public Communicator {
 public:
  explicit FaultyCommunicator(Communicator& inner) : inner_(inner) {}
  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }
  void all_reduce_sum(View values) override {
    inner_.all_reduce_sum(values);
    if (values.dtype == DType::kF32) spoil(values);
  }
  void reduce_scatter_sum(View values, View mine) override {
    inner_.reduce_scatter_sum(values, mine);
    spoil(mine);
  }
  void all_gather(ConstView send, View received) override {
    inner_.all_gather(send, received);
    spoil(received);
  }
  void broadcast(View values, int root) override { inner_.broadcast(values, root); }
  void barrier() override { inner_.barrier(); }

 private:
  void spoil(View values) {
    if (rank() == size() - 1) values.as<float>()[values.elems() - 1] += 1;
  }
  Communicator& inner_;
};

// One that delivers nothing.
class IdleCommunicator final : public Communicator {
 public:
  explicit IdleCommunicator(Communicator& inner) : inner_(inner) {}
  [[nodiscard]] int rank() const override { return inner_.rank(); }
  [[nodiscard]] int size() const override { return inner_.size(); }
  void all_reduce_sum(View values) override {
    if (values.elems() == 1) inner_.all_reduce_sum(values);  // of counts and times
  }
  void reduce_scatter_sum(View, View) override {}
  void all_gather(ConstView, View) override {}
  void broadcast(View, int) override {}
  void barrier() override { inner_.barrier(); }

 private:
  Communicator& inner_;
};

CollectiveOptions few(const std::string& collective, DType dtype = DType::kF32) {
  return {.collective = collective, .dtype = dtype, .iterations = 2, .warm_up = 1};
}

// Of rank 0 among `ranks`, over a Wrapper around the communicator.
template <class Wrapper>
CollectiveRow measure(const CollectiveOptions& options, int64_t bytes, int ranks) {
  CollectiveRow row;
  run_thread_ranks(ranks, [&](Communicator& comm) {
    Device device("cpu", 1);
    Wrapper wrapped(comm);
    const CollectiveRow mine = measure_collective(options, bytes, wrapped, device);
    if (comm.rank() == 0) row = mine;
  });
  return row;
}

const std::vector<std::string> kAll = {"all_reduce", "reduce_scatter", "all_gather"};

}  // namespace

TEST_CASE("collectives deliver what the host adds up, in every dtype") {
  for (const std::string& collective : kAll) {
    for (const DType dtype : {DType::kF32, DType::kF64, DType::kBF16}) {
      const CollectiveOptions options = few(collective, dtype);
      const auto size = static_cast<int64_t>(size_of(dtype));
      for (const int64_t elems : {3L, 3L * 65521 + 6}) {
        INFO(collective << " " << name_of(dtype) << " " << elems);
        const CollectiveRow row = measure<Communicator&>(options, elems * size, 3);
        CHECK(row.wrong == 0);
        CHECK(row.bytes == elems * size);
        CHECK(row.count == (collective == "all_reduce" ? elems : elems / 3));
        CHECK(row.seconds > 0);
      }
    }
  }
}

TEST_CASE("one wrong element of one rank is counted, and a collective that does nothing") {
  for (const std::string& collective : kAll) {
    INFO(collective);
    CHECK(measure<FaultyCommunicator>(few(collective), 1 << 20, 4).wrong == 1);
    CHECK(measure<IdleCommunicator>(few(collective), 1 << 20, 4).wrong > 1 << 15);
  }
}

TEST_CASE("message sizes grow by the factor and divide among ranks") {
  CollectiveOptions options{.min_bytes = 8, .max_bytes = 100, .factor = 2};
  CHECK(message_bytes(options, 3) == std::vector<int64_t>{8, 16, 32, 64});
  options.collective = "reduce_scatter";
  CHECK(message_bytes(options, 3) == std::vector<int64_t>{12, 24, 48, 96});
  options.dtype = DType::kF64;
  CHECK(message_bytes(options, 5) == std::vector<int64_t>{40, 80});
  options.max_bytes = 39;
  CHECK(message_bytes(options, 5).empty());
}

TEST_CASE("bus bandwidth is what a link carries, and nothing for one rank") {
  const CollectiveRow row{.bytes = 3'000'000'000, .count = 1, .seconds = 2};
  CHECK(algorithm_bandwidth(row, 4) == Approx(1.5));
  CHECK(bus_bandwidth(few("all_reduce"), row, 4) == Approx(2 * 0.75 * 1.5));
  CHECK(bus_bandwidth(few("reduce_scatter"), row, 4) == Approx(0.75 * 1.5));
  CHECK(bus_bandwidth(few("all_gather"), row, 4) == Approx(0.75 * 1.5));
  CHECK(std::isnan(bus_bandwidth(few("all_reduce"), row, 1)));
}

TEST_CASE("a row has the columns of nccl-tests") {
  const CollectiveRow row{.bytes = 1'000'000, .count = 250'000, .seconds = 1e-3, .wrong = 7};
  const auto words = [](const std::string& line) {
    std::istringstream in(line);
    return std::vector<std::string>(std::istream_iterator<std::string>(in), {});
  };
  CHECK(words(collective_line(few("all_reduce"), row, 2)) ==
        std::vector<std::string>{"1000000", "250000", "float", "sum", "1000.00", "1.00", "1.00",
                                 "7"});
  CHECK(words(collective_line(few("all_gather", DType::kBF16), row, 1)) ==
        std::vector<std::string>{"1000000", "250000", "bfloat16", "none", "1000.00", "n/a", "n/a",
                                 "7"});
  CHECK_THAT(collective_heading(few("all_reduce"), 2, "cpu"),
             Catch::Contains("algbw") && Catch::Contains("#wrong"));
  CHECK_THAT(collective_summary(few("all_reduce"), {row}, 2),
             Catch::Contains(": 7 FAILED") && Catch::Contains(": 1.00"));
}

TEST_CASE("bench: a collective of one rank, alone") {
  const ProcessResult result = run_process(
      {BIGBIGAN_BENCH, "all_reduce", "--device", "cpu", "-b", "1K", "-e", "4K", "-d", "f64"});
  INFO(result.err);
  REQUIRE(result.code == 0);
  CHECK_THAT(result.out, Catch::Contains("1 rank, cpu") && Catch::Contains(" 4096 ") &&
                             Catch::Contains("double") && Catch::Contains("n/a") &&
                             Catch::Contains("Out of bounds values : 0 OK"));
}

TEST_CASE("bench: bad command lines of collectives end with 64") {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"all_reduce", "train.batch=3"},
        {"all_reduce", "--step", "fmnist-32-tiny"},
        {"all_reduce", "--benchmark_filter=x"},
        {"all_reduce", "-d", "f16"},
        {"all_reduce", "-b", "0"},
        {"all_reduce", "-f", "1"},
        {"all_reduce", "-b", "8", "-e", "4"},
        {"all_reduce", "all_gather"}}) {
    INFO(arguments[1] << (arguments.size() > 2 ? arguments[2] : ""));
    std::vector<std::string> command = {BIGBIGAN_BENCH, "--device", "cpu"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    CHECK(run_process(command).code == 64);
  }
}
