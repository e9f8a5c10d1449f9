// What thread-ranks show elsewhere, among processes: there MPI's own messages carry it. The visible
// test starts this program under mpirun; the others are what each process then does.
#include "tests/e2e/process.h"
#include "tests/engine_ops/sync_batch_norm.h"
#include "tests/train/training_world.h"

#include "engine/world/world.h"

using namespace bigbigan;

namespace {

// Of all that mpirun started: MPI begins once, and ends with the program.
Communicator& processes() {
  static const std::unique_ptr<World> world = join_world();
  return world->communicator();
}

// The message of the Error{kInternal} that `call` throws.
template <class Call>
std::string mismatch_of(const Call& call) {
  const std::optional<Error> error = error_of(call);
  return error && error->code() == ExitCode::kInternal ? error->what() : "no such error";
}

// With as many ranks as there are processes.
std::vector<Split> splits_of(int ranks) {
  if (ranks == 2) return {{4, 4}, {5, 3}, {7, 1}, {8, 0}};
  if (ranks == 3) return {{3, 3, 2}, {0, 8, 0}};
  return {{2, 2, 2, 2}, {1, 0, 6, 1}};
}

}  // namespace

TEST_CASE("ranks: among 2, 3 and 4 processes") {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  for (const char* ranks : {"2", "3", "4"}) {
    std::vector<std::string> command = mpirun();
    command.insert(command.end(), {"-np", ranks, self, "[.process]"});
    const ProcessResult result = run_process(command, {"ASAN_OPTIONS=detect_leaks=0"});
    INFO(result.out << result.err);
    CHECK(result.code == 0);
  }
}

// Each check is one of this process alone: those that fail must not keep it from its collectives.
TEST_CASE("process: one that brings something else is an error, which names both sides",
          "[.process]") {
  Communicator& comm = processes();
  std::vector<float> four(4), five(5);
  std::vector<int32_t> integers(4);
  const View usual{four.data(), {4}, DType::kF32};
  const std::string sum = "all_reduce_sum of 16 bytes of f32";
  struct Row {
    std::string brings;
    std::function<void()> call;
  };
  const std::vector<Row> rows = {
      {"all_reduce_sum of 20 bytes of f32",
       [&] {
         comm.all_reduce_sum({five.data(), {5}, DType::kF32});
       }},
      {"all_reduce_sum of 16 bytes of i32",
       [&] {
         comm.all_reduce_sum({integers.data(), {4}, DType::kI32});
       }},
      {"broadcast of 16 bytes of f32", [&] { comm.broadcast(usual, 0); }},
      {"barrier of 0 bytes of u8", [&] { comm.barrier(); }}};
  for (int odd = 0; odd < comm.size(); ++odd) {
    for (const Row& row : rows) {
      const std::string message = mismatch_of([&] {
        if (comm.rank() == odd) return row.call();
        comm.all_reduce_sum(usual);
      });
      INFO(message);
      const std::string other = "rank " + std::to_string(std::max(odd, 1)) + " in number ";
      CHECK_THAT(message, Catch::Contains("rank 0 in number ") && Catch::Contains(", " + other) &&
                              Catch::Contains(sum) && Catch::Contains(row.brings));
    }
  }
  four = {1, 2, 3, 4};
  comm.all_reduce_sum(usual);  // nobody is out of step
  CHECK(four[3] == 4.0f * static_cast<float>(comm.size()));
}

TEST_CASE("process: batch norm of any split is that of one batch", "[.process]") {
  Communicator& comm = processes();
  HostAllocator allocator;
  const Context ctx{.exec = CpuExec{}, .allocator = &allocator, .comm = &comm};
  for (const auto& [p, limit] : {std::pair(BatchNormProblem{}, 1e-12),
                                 {BatchNormProblem{.conditional = true}, 1e-12},
                                 {BatchNormProblem{.mean = 1e4}, 1e-11},
                                 {BatchNormProblem{.dtype = DType::kF32}, 1e-5},
                                 {BatchNormProblem{.dtype = DType::kF32, .mean = 1e4}, 1e-3}}) {
    BatchNormProblem exact = p;
    exact.dtype = DType::kF64;
    const BatchNormResult whole = run_whole_batch_norm(exact);
    for (const Split& split : splits_of(comm.size())) {
      const int64_t first = first_of(split, comm.rank()), count = split[comm.rank()];
      const BatchNormResult mine = run_batch_norm(p, ctx, first, count);
      INFO("mean " << p.mean << ", conditional " << p.conditional << ", images " << count);
      check_same(mine, part_of(whole, p, first, count), limit);
    }
  }
}

TEST_CASE("process: training steps of any split equal one process with the whole batch",
          "[.process]") {
  Communicator& comm = processes();
  const Config config = training_config();
  for (const auto& [dtype, steps, limits] :
       {std::tuple(DType::kF64, kSteps, Limits{1e-12, 1e-12, 1e-12, 1e-11}),
        {DType::kF32, 1, Limits{1e-5, 1e-5, 1e-2, 1e-5}}}) {
    const auto alone = train_alone(config, dtype, steps);
    for (const Split& split : splits_of(comm.size())) {
      const int64_t first = first_of(split, comm.rank()), count = split[comm.rank()];
      Rank mine(config, dtype, &comm);
      mine.train(&comm, first, count, steps);
      INFO(name_of(dtype) << ", images " << count);
      check_same_training(mine, *alone, limits);
    }
  }
}
