// Collectives between GPUs: what they compute, in which order, and how they fail.
#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string_view>

#include "kernels/elementwise/unary.h"
#include "tests/cuda/ranks/gpu_ranks.h"
#include "tests/engine_world/thread_world.h"
#include "train/device_of_rank.h"

using namespace bigbigan;

namespace {

template <class T>
std::vector<T> values_of(int rank, int64_t elems) {
  std::vector<T> values;
  for (int64_t i = 0; i < elems; ++i) {
    values.push_back(static_cast<T>(static_cast<float>((rank + 2) * (i % 9 + 1)) / 4));
  }
  return values;
}

// Adds in double: all values are small multiples of 1/4, so that every sum is exact.
template <class T>
std::vector<T> sum_of(int ranks, int64_t elems) {
  std::vector<double> sums(elems);
  for (int r = 0; r < ranks; ++r) {
    const std::vector<T> values = values_of<T>(r, elems);
    for (int64_t i = 0; i < elems; ++i) sums[i] += static_cast<double>(values[i]);
  }
  std::vector<T> rounded;
  for (const double sum : sums) rounded.push_back(static_cast<T>(static_cast<float>(sum)));
  return rounded;
}

template <class T>
Tensor tensor(const Context& ctx, const std::vector<T>& values) {
  return Tensor::from_host(ctx, {static_cast<int64_t>(values.size())}, dtype_of<T>(),
                           values.data());
}

template <class T>
bool equal(const std::vector<T>& a, const std::vector<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const T& x, const T& y) {
    return static_cast<double>(x) == static_cast<double>(y);
  });
}

void require(bool holds, const char* what) { check(holds, "wrong: {}", what); }

template <class T>
void check_collectives(GpuRank& rank, int64_t elems) {
  const int size = rank.comm->size(), r = rank.comm->rank();
  const std::vector<T> sum = sum_of<T>(size, elems);

  const Tensor all = tensor(rank.ctx, values_of<T>(r, elems));
  rank.comm->all_reduce_sum(all);
  require(equal(all.to_vector<T>(), sum), "all_reduce_sum");

  const int64_t part = elems / size;
  const std::vector<T> whole = sum_of<T>(size, part * size);
  const std::vector<T> my_part(whole.begin() + r * part, whole.begin() + (r + 1) * part);
  const Tensor scattered = tensor(rank.ctx, values_of<T>(r, part * size));
  const Tensor mine = tensor(rank.ctx, std::vector<T>(part));
  rank.comm->reduce_scatter_sum(scattered, mine);
  require(equal(mine.to_vector<T>(), my_part), "reduce_scatter_sum");
  const Tensor own = scattered.slice(r * part, (r + 1) * part);
  rank.comm->reduce_scatter_sum(scattered, own);
  require(equal(own.to_vector<T>(), my_part), "reduce_scatter_sum into its own part");

  rank.comm->all_gather(mine, scattered);
  require(equal(scattered.to_vector<T>(), whole), "all_gather");
  own.copy_from(mine);
  rank.comm->all_gather(own, scattered);
  require(equal(scattered.to_vector<T>(), whole), "all_gather from its own part");

  const Tensor sent = tensor(rank.ctx, values_of<T>(r, elems));
  rank.comm->broadcast(sent, size - 1);
  require(equal(sent.to_vector<T>(), values_of<T>(size - 1, elems)), "broadcast");

  const Tensor first = tensor(rank.ctx, values_of<T>(r, elems));
  const Tensor second = tensor(rank.ctx, values_of<T>(r, elems));
  const Tensor third = tensor(rank.ctx, values_of<T>(r, part * size)),
               part_of_third = third.slice(r * part, (r + 1) * part);
  rank.comm->start_sum(first);
  rank.comm->start_reduce_scatter_sum(third, part_of_third);
  rank.comm->start_sum(second);
  rank.comm->finish_sums();
  require(equal(first.to_vector<T>(), sum) && equal(second.to_vector<T>(), sum), "start_sum");
  require(equal(part_of_third.to_vector<T>(), my_part), "start_reduce_scatter_sum");
}

// The message of the Error that `body` throws, if that has `code`.
template <class Body>
std::string error_of(ExitCode code, const Body& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.code() == code ? e.what() : fmt::format("code {}", int(e.code()));
  }
  return "nothing thrown";
}

bool is_eager() {
  const char* const streams = std::getenv("EMU_STREAMS");
  return streams != nullptr && std::string_view(streams) == "eager";
}

}  // namespace

TEST_CASE("GPU ranks: collectives of every type and of no element") {
  for (const int ranks : {1, 2, 3}) {
    run_gpu_ranks(ranks, [](GpuRank& rank) {
      for (const int64_t elems : {0, 1, 7, 1000}) {
        check_collectives<float>(rank, elems);
        check_collectives<double>(rank, elems);
        check_collectives<bf16>(rank, elems);
        check_collectives<int32_t>(rank, elems);
        check_collectives<int64_t>(rank, elems);
      }
      const int root = rank.comm->size() / 2;
      const Tensor bytes = tensor(rank.ctx, std::vector<uint8_t>(3, uint8_t(rank.comm->rank())));
      rank.comm->broadcast(bytes, root);
      require(bytes.to_vector<uint8_t>() == std::vector<uint8_t>(3, root), "broadcast of bytes");
      rank.comm->barrier();
    });
  }
}

// Recorded or not: a sum is under way while another one, and launches, run on the main stream.
TEST_CASE("GPU ranks: sums under way take their place behind and before other launches") {
  const bool recorded = GENERATE(false, true);
  constexpr int kRanks = 3;
  run_gpu_ranks(kRanks, [&](GpuRank& rank) {
    const std::vector<float> mine = values_of<float>(rank.comm->rank(), 100);
    const auto new_tensor = [&] { return tensor(rank.ctx, mine); };
    const Tensor x = new_tensor(), y = new_tensor(), z = new_tensor(), w = new_tensor(),
                 doubled_y = new_tensor(), doubled_z = new_tensor(), doubled_w = new_tensor();
    const int r = rank.comm->rank();
    const Tensor v = new_tensor(), my_v = v.slice(r, r + 1), doubled_v = new_tensor().slice(0, 1);
    const auto scaled = [&](const Tensor& from, double factor, const Tensor& to) {
      rank.ctx.run([&](const auto& ex) { scale(ex, from, factor, to, false); });
    };
    const auto work = [&] {
      scaled(x, 1, y);
      rank.comm->start_sum(y);
      rank.comm->all_reduce_sum(z);
      scaled(z, 2, doubled_z);
      scaled(x, 1, w);
      rank.comm->start_sum(w);  // behind the last collective of the main stream
      scaled(x, 1, v);
      rank.comm->start_reduce_scatter_sum(v.slice(0, kRanks), my_v);
      rank.comm->finish_sums();
      scaled(y, 2, doubled_y);
      scaled(w, 2, doubled_w);
      scaled(my_v, 2, doubled_v);
    };
    const std::unique_ptr<Recording> recording = recorded ? rank.device->record(work) : nullptr;
    const auto times = [](std::vector<float> values, float factor) {
      for (float& v : values) v *= factor;
      return values;
    };
    const std::vector<float> sum = sum_of<float>(kRanks, 100);
    float z_factor = 1;
    for (int round = 0; round < 3; ++round, z_factor *= kRanks) {
      if (recording) recording->replay();
      if (!recording) work();
      require(equal(doubled_y.to_vector<float>(), times(sum, 2)), "y");
      require(equal(doubled_w.to_vector<float>(), times(sum, 2)), "w");
      require(equal(doubled_v.to_vector<float>(), {2 * sum[r]}), "v");
      require(equal(doubled_z.to_vector<float>(), times(sum, 2 * z_factor)), "z");
    }
  });
}

// The launches of rank 0 go on while its sum waits for rank 1, which comes only after that.
TEST_CASE("GPU ranks: launches do not wait for a sum that is under way") {
  if (is_eager()) return;  // there the host itself waits
  run_gpu_ranks(2, [](GpuRank& rank) {
    const Tensor sum = tensor(rank.ctx, std::vector<float>{1, 2}),
                 other = tensor(rank.ctx, std::vector<float>{5});
    if (rank.comm->rank() == 0) {
      rank.comm->start_sum(sum);
      require(other.to_vector<float>() == std::vector<float>{5}, "other");
    }
    rank.host.barrier();
    if (rank.comm->rank() == 1) rank.comm->start_sum(sum);
    rank.comm->finish_sums();
    require(sum.to_vector<float>() == std::vector<float>{2, 4}, "sum");
  });
}

TEST_CASE("GPU ranks: what cannot be summed is refused") {
  std::array<std::string, 2> bytes, host;
  run_gpu_ranks(2, [&](GpuRank& rank) {
    const int r = rank.comm->rank();
    const Tensor u8 = tensor(rank.ctx, std::vector<uint8_t>(4));
    std::vector<float> memory(4);
    bytes[r] = error_of(ExitCode::kInternal, [&] { rank.comm->all_reduce_sum(u8); });
    host[r] = error_of(ExitCode::kSystem, [&] {
      rank.comm->all_reduce_sum({memory.data(), {4}, DType::kF32});
    });
    rank.host.barrier();
  });
  for (const int r : {0, 1}) {
    CHECK_THAT(bytes[r], Catch::Contains("no sum for u8"));
    CHECK_THAT(host[r], Catch::Contains("NCCL: all_reduce_sum: invalid argument") &&
                            Catch::Contains("not in device memory") &&
                            Catch::Contains("NCCL_DEBUG=INFO"));
  }
}

// What the stand-in does at once, NCCL may do by not getting on: the watchdog then ends it.
TEST_CASE("GPU ranks: one that brings something else is an error of the device") {
  const bool recorded = GENERATE(false, true);
  struct Row {
    const char* expected;  // of rank 1
    DType dtype;
    int64_t elems;
    bool broadcasts;
  };
  const Row row = GENERATE(Row{"all-reduce of 5 elements of type 7", DType::kF32, 5, false},
                           Row{"all-reduce of 4 elements of type 2", DType::kI32, 4, false},
                           Row{"broadcast of 4 elements of type 7", DType::kF32, 4, true});
  INFO(row.expected << ", recorded " << recorded);
  std::string error;
  run_gpu_ranks(2, [&](GpuRank& rank) {
    const bool is_odd = rank.comm->rank() == 1;
    const Tensor x = is_odd ? Tensor::zeros(rank.ctx, {row.elems}, row.dtype)
                            : tensor(rank.ctx, std::vector<float>(4));
    const auto work = [&] {
      if (is_odd && row.broadcasts) return rank.comm->broadcast(x, 0);
      rank.comm->all_reduce_sum(x);
    };
    const std::unique_ptr<Recording> recording = recorded ? rank.device->record(work) : nullptr;
    if (recording) recording->replay();
    if (!recording) work();
    std::vector<std::byte> bytes(x.view().bytes());
    x.read(bytes.data());  // waits
    rank.host.barrier();
    if (!is_odd) error = rank.comm->error();
  });
  CHECK_THAT(error, Catch::Contains("all-reduce of 4 elements of type 7") &&
                        Catch::Contains(row.expected));
}

TEST_CASE("GPU ranks: one that gives up ends the others' waiting") {
  std::string error, own, others;
  run_gpu_ranks(2, [&](GpuRank& rank) {
    const Tensor x = tensor(rank.ctx, std::vector<float>(4));
    if (rank.comm->rank() == 1) {
      rank.comm->abort();
      rank.comm->abort();
      own = error_of(ExitCode::kPeerLost, [&] { rank.comm->all_reduce_sum(x); });
      require(rank.comm->error().empty(), "the error of one that has given up");
      rank.host.barrier();
      return;
    }
    rank.host.barrier();
    error = rank.comm->error();
    others = error_of(ExitCode::kPeerLost, [&] { rank.comm->all_reduce_sum(x); });
  });
  CHECK_THAT(own, Catch::Contains("given up"));
  CHECK_THAT(error, Catch::Contains("NCCL: remote process exited") &&
                        Catch::Contains("rank 1 has aborted"));
  CHECK_THAT(others, Catch::Contains("all_reduce_sum") && Catch::Contains("rank 1 has aborted"));
}

TEST_CASE("GPU ranks: one that does not join is waited for so long and no longer") {
  std::string error;
  run_thread_ranks(2, [&](Communicator& host) {
    if (host.rank() == 0) {
      error = error_of(ExitCode::kPeerLost, [&] { const GpuRank rank(host, 0.2); });
    } else {
      std::vector<uint8_t> id(128);
      host.broadcast({id.data(), {128}, DType::kU8}, 0);
    }
  });
  CHECK_THAT(error, Catch::Contains("NCCL: set-up: rank 0 has waited 0.2 s for the others"));
}

TEST_CASE("GPU ranks: two on one GPU are refused") {
  std::string error;
  run_thread_ranks(2, [&](Communicator& host) {
    const std::unique_ptr<Accelerator> device = open_cuda(0);
    host.barrier();
    const auto join = [&] { make_nccl_communicator(host, device->exec(), 0.2); };
    try {
      join();
    } catch (const Error& e) {
      if (e.code() == ExitCode::kSystem) error = e.what();
    }
  });
  CHECK_THAT(error, Catch::Contains("Duplicate GPU"));
}

TEST_CASE("GPU ranks: each takes a GPU of its own") {
  const auto devices = [](int ranks, const std::string& option) {
    std::vector<std::string> names(ranks);
    run_thread_ranks(ranks, [&](Communicator& host) {
      ThreadWorld world(host);
      names[host.rank()] = device_of_rank(world, option);
    });
    return names;
  };
  using Names = std::vector<std::string>;
  CHECK(devices(3, "cuda") == Names{"cuda:0", "cuda:1", "cuda:2"});
  CHECK(devices(2, "auto") == Names{"cuda:0", "cuda:1"});
  CHECK(devices(2, "cpu") == Names{"cpu", "cpu"});
  CHECK(devices(1, "cuda:5") == Names{"cuda:5"});
  CHECK_THAT(error_of(ExitCode::kConfig, [&] { devices(9, "cuda"); }),
             Catch::Contains("9 ranks on host, which has 8 GPUs"));
  CHECK_THAT(error_of(ExitCode::kConfig, [&] { devices(2, "cuda:1"); }),
             Catch::Contains("--device cuda:1: 2 ranks on host would share this GPU"));
}

// With EMU_NCCL_SECONDS=1.
TEST_CASE("GPU ranks: one that does not come to a collective", "[.late_rank]") {
  std::string error, next;
  run_gpu_ranks(3, [&](GpuRank& rank) {
    const Tensor x = tensor(rank.ctx, std::vector<float>(4));
    if (rank.comm->rank() != 2) {
      rank.comm->all_reduce_sum(x);
      require(x.to_vector<float>().size() == 4, "x");
    }
    rank.host.barrier();
    if (rank.comm->rank() != 0) return;
    error = rank.comm->error();
    next = error_of(ExitCode::kPeerLost, [&] { rank.comm->all_reduce_sum(x); });
  });
  CHECK_THAT(error, Catch::Contains("rank 2 has not come within 1 s"));
  CHECK_THAT(next, Catch::Contains("rank 2 has not come within 1 s"));
}

// With EMU_NCCL_STUCK=2.
TEST_CASE("GPU ranks: a collective that cannot be enqueued is waited for so long and no longer",
          "[.stuck_call]") {
  std::array<std::string, 2> errors;
  run_thread_ranks(2, [&](Communicator& host) {
    GpuRank rank(host, 3);
    const Tensor x = tensor(rank.ctx, std::vector<float>(4));
    rank.comm->all_reduce_sum(x);
    errors[host.rank()] = error_of(ExitCode::kPeerLost, [&] { rank.comm->all_reduce_sum(x); });
    require(rank.comm->error().empty(), "the error of one that is in progress");
    host.barrier();
  });
  CHECK_THAT(errors[0], Catch::Contains("all_reduce_sum: rank 0 has waited 3.0 s for the others"));
  CHECK_THAT(errors[1], Catch::Contains("all_reduce_sum: rank 1 has waited 3.0 s for the others"));
}

// With EMU_NCCL_VERSION=21799.
TEST_CASE("GPU ranks: a library that is too old", "[.old_library]") {
  const std::string error = error_of(ExitCode::kSystem, [] { run_gpu_ranks(2, [](GpuRank&) {}); });
  CHECK_THAT(error,
             Catch::Contains("libnccl.so.2 is of version 2.17.99, this program needs 2.18.0") &&
                 Catch::Contains("LD_LIBRARY_PATH"));
}

// With EMU_NCCL_VERSION=22805: the warning is looked for in what is printed.
TEST_CASE("GPU ranks: a library with known faults", "[.bad_library]") {
  run_gpu_ranks(2, [](GpuRank&) {});
}
