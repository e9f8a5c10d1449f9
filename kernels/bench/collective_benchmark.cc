#include "kernels/bench/collective_benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "engine/core/tensor.h"
#include "engine/io/flat_json.h"
#include "kernels/random/philox.h"
#include "tests/harness/values.h"

namespace bigbigan {
namespace {

// Operands repeat after so many elements, a prime: no transport cuts messages into multiples of it.
constexpr int64_t kTile = 65521;

bool shares_parts(const CollectiveOptions& options) { return options.collective != "all_reduce"; }

const char* operator_name(const CollectiveOptions& options) {
  return options.collective == "all_gather" ? "none" : "sum";
}

// As nccl-tests calls it.
const char* type_name(DType dtype) {
  if (dtype == DType::kF64) return "double";
  return dtype == DType::kBF16 ? "bfloat16" : "float";
}

// What a rank brings: -1, 0 and 1, so that the sum over 256 ranks is exact, in bf16 and in any
// order.
std::vector<double> tile_of(int rank) {
  std::vector<double> tile(kTile);
  for (int64_t i = 0; i < kTile; ++i) {
    const uint32_t word = philox(rank, RandomStream::kSample, i, 0).word[0];
    tile[i] = static_cast<double>(word % 3) - 1;
  }
  return tile;
}

std::vector<double> sum_of_tiles(int ranks) {
  std::vector<double> sum(kTile);
  for (int r = 0; r < ranks; ++r) {
    const std::vector<double> tile = tile_of(r);
    std::transform(sum.begin(), sum.end(), tile.begin(), sum.begin(), std::plus<>());
  }
  return sum;
}

// Calls body(slice, beginning of its values in the tile) for the elements of `flat`, of which the
// first is number `first` of the message.
template <class Body>
void for_tiles(const Tensor& flat, int64_t first, const Body& body) {
  for (int64_t at = 0; at < flat.elems();) {
    const int64_t in_tile = (first + at) % kTile;
    const int64_t end = std::min(at + kTile - in_tile, flat.elems());
    body(flat.slice(at, end), in_tile);
    at = end;
  }
}

void fill(const Tensor& flat, const std::vector<double>& tile) {
  for_tiles(flat, 0, [&](const Tensor& slice, int64_t in_tile) {
    write(slice, std::span(tile).subspan(in_tile, slice.elems()));
  });
}

int64_t wrong_elements(const Tensor& flat, int64_t first, const std::vector<double>& tile) {
  int64_t wrong = 0;
  for_tiles(flat, first, [&](const Tensor& slice, int64_t in_tile) {
    const std::vector<double> found = read(slice);
    for (size_t i = 0; i < found.size(); ++i) wrong += found[i] != tile[in_tile + i] ? 1 : 0;
  });
  return wrong;
}

template <class T>
T sum_over_ranks(const Context& ctx, Communicator& communicator, T mine) {
  const Tensor sum = Tensor::from_host(ctx, {1}, dtype_of<T>(), &mine);
  communicator.all_reduce_sum(sum);
  return sum.item<T>();
}

// One collective with its operands.
class Trial {
 public:
  Trial(const Context& ctx, const CollectiveOptions& options, int64_t bytes,
        Communicator& communicator)
      : options_(options),
        comm_(communicator),
        values_(Tensor::zeros(ctx, {bytes / static_cast<int64_t>(size_of(options.dtype))},
                              options.dtype)),
        part_(values_.elems() / comm_.size()),
        mine_(values_.slice(comm_.rank() * part_, (comm_.rank() + 1) * part_)) {}

  [[nodiscard]] int64_t count() const { return shares_parts(options_) ? part_ : values_.elems(); }

  void run() {
    if (options_.collective == "all_gather") {
      comm_.all_gather(mine_, values_.reshape({comm_.size(), part_}));
    } else if (options_.collective == "reduce_scatter") {
      comm_.reduce_scatter_sum(values_, mine_);
    } else {
      comm_.all_reduce_sum(values_);
    }
  }

  // Runs it once; this rank's wrong elements.
  int64_t verify() {
    const bool gathers = options_.collective == "all_gather";
    fill(gathers ? mine_ : values_, tile_of(comm_.rank()));
    run();
    if (gathers) {
      int64_t wrong = 0;
      for (int r = 0; r < comm_.size(); ++r) {
        wrong += wrong_elements(values_.slice(r * part_, (r + 1) * part_), 0, tile_of(r));
      }
      return wrong;
    }
    const std::vector<double> sum = sum_of_tiles(comm_.size());
    return shares_parts(options_) ? wrong_elements(mine_, comm_.rank() * part_, sum)
                                  : wrong_elements(values_, 0, sum);
  }

 private:
  const CollectiveOptions& options_;
  Communicator& comm_;
  Tensor values_;
  int64_t part_;
  Tensor mine_;
};

// The mean over rows; NaN for one rank.
double mean_bus_bandwidth(const CollectiveOptions& options, const std::vector<CollectiveRow>& rows,
                          int ranks) {
  double sum = 0;
  for (const CollectiveRow& row : rows) sum += bus_bandwidth(options, row, ranks);
  return sum / static_cast<double>(rows.size());
}

std::string bandwidth_text(double gb_per_s) {
  return std::isnan(gb_per_s) ? "n/a" : fmt::format("{:.2f}", gb_per_s);
}

int64_t wrong_of(const std::vector<CollectiveRow>& rows) {
  int64_t wrong = 0;
  for (const CollectiveRow& row : rows) wrong += row.wrong;
  return wrong;
}

}  // namespace

std::vector<int64_t> message_bytes(const CollectiveOptions& options, int ranks) {
  const int64_t unit =
      static_cast<int64_t>(size_of(options.dtype)) * (shares_parts(options) ? ranks : 1);
  std::vector<int64_t> list;
  for (int64_t bytes = std::max(options.min_bytes, unit); bytes <= options.max_bytes;
       bytes *= options.factor) {
    list.push_back(bytes / unit * unit);
  }
  return list;
}

CollectiveRow measure_collective(const CollectiveOptions& options, int64_t bytes,
                                 Communicator& communicator, Device& device) {
  const Context ctx{.exec = device.exec(), .allocator = &device.allocator()};
  Trial trial(ctx, options, bytes, communicator);
  CollectiveRow row{.bytes = bytes, .count = trial.count()};
  row.wrong = sum_over_ranks(ctx, communicator, trial.verify());
  for (int64_t i = 0; i < options.warm_up; ++i) trial.run();
  communicator.barrier();
  const auto timeline = device.timeline();
  const size_t from = timeline->mark();
  for (int64_t i = 0; i < options.iterations; ++i) trial.run();
  const double seconds = timeline->seconds(from, timeline->mark());
  row.seconds = sum_over_ranks(ctx, communicator, seconds) /
                static_cast<double>(options.iterations * communicator.size());
  return row;
}

double algorithm_bandwidth(const CollectiveRow& row, int ranks) {
  if (ranks == 1) return std::numeric_limits<double>::quiet_NaN();
  return 1e-9 * static_cast<double>(row.bytes) / row.seconds;
}

double bus_bandwidth(const CollectiveOptions& options, const CollectiveRow& row, int ranks) {
  const double passes = shares_parts(options) ? 1 : 2;
  return algorithm_bandwidth(row, ranks) * passes * (ranks - 1) / ranks;
}

std::string collective_heading(const CollectiveOptions& options, int ranks,
                               const std::string& device) {
  return fmt::format("# {}, in place: {} {}, {}; {} calls to warm up, {} timed\n#\n",
                     options.collective, ranks, ranks == 1 ? "rank" : "ranks", device,
                     options.warm_up, options.iterations) +
         fmt::format("#{:>11}  {:>12}  {:>8}  {:>6}  {:>9}  {:>7}  {:>7}  {:>6}\n", "size", "count",
                     "type", "redop", "time", "algbw", "busbw", "#wrong") +
         fmt::format("#{:>11}  {:>12}  {:>8}  {:>6}  {:>9}  {:>7}  {:>7}\n", "(B)", "(elements)",
                     "", "", "(us)", "(GB/s)", "(GB/s)");
}

std::string collective_line(const CollectiveOptions& options, const CollectiveRow& row, int ranks) {
  return fmt::format("{:>12}  {:>12}  {:>8}  {:>6}  {:>9.2f}  {:>7}  {:>7}  {:>6}", row.bytes,
                     row.count, type_name(options.dtype), operator_name(options), 1e6 * row.seconds,
                     bandwidth_text(algorithm_bandwidth(row, ranks)),
                     bandwidth_text(bus_bandwidth(options, row, ranks)), row.wrong);
}

std::string collective_summary(const CollectiveOptions& options,
                               const std::vector<CollectiveRow>& rows, int ranks) {
  const int64_t wrong = wrong_of(rows);
  return fmt::format("# Out of bounds values : {} {}\n# Avg bus bandwidth    : {}\n", wrong,
                     wrong == 0 ? "OK" : "FAILED",
                     bandwidth_text(mean_bus_bandwidth(options, rows, ranks)));
}

std::string collective_json(const CollectiveOptions& options,
                            const std::vector<CollectiveRow>& rows, int ranks,
                            const std::string& device) {
  std::string lines;
  for (const CollectiveRow& row : rows) {
    lines += lines.empty() ? "\n  " : ",\n  ";
    lines += to_json({{"size", row.bytes},
                      {"count", row.count},
                      {"time_us", 1e6 * row.seconds},
                      {"algbw", algorithm_bandwidth(row, ranks)},
                      {"busbw", bus_bandwidth(options, row, ranks)},
                      {"wrong", row.wrong}});
  }
  std::string text = to_json({{"collective", options.collective},
                              {"ranks", int64_t{ranks}},
                              {"device", device},
                              {"type", std::string(type_name(options.dtype))},
                              {"redop", std::string(operator_name(options))},
                              {"iterations", options.iterations}});
  text.pop_back();
  return text + ",\n \"rows\": [" + lines + "]}\n";
}

}  // namespace bigbigan
