// Times collectives among ranks by the size of the message, after comparing what they deliver with
// sums formed on the host. Columns, sizes and bandwidths are those of nccl-tests, in place.
#pragma once

#include <string>
#include <vector>

#include "engine/comm/communicator.h"
#include "engine/core/device.h"

namespace bigbigan {

struct CollectiveOptions {
  std::string collective = "all_reduce";  // or reduce_scatter, all_gather
  DType dtype = DType::kF32;              // f32, f64 or bf16
  int64_t min_bytes = 8, max_bytes = 128 << 20, factor = 2;
  // The same on all ranks: counts that adapt to the clock would differ among them, and hang.
  int64_t iterations = 20, warm_up = 5;
};

struct CollectiveRow {
  int64_t bytes = 0;   // all that a rank holds at the end, or at the beginning if that is more
  int64_t count = 0;   // elements: of the sum, or of one rank's part
  double seconds = 0;  // per call, mean over ranks
  int64_t wrong = 0;   // elements that are not what they should be, of all ranks together
};

// From min_bytes to max_bytes by `factor`, rounded down to what divides among the ranks; one
// element each at least.
std::vector<int64_t> message_bytes(const CollectiveOptions& options, int ranks);

// Called by all ranks, like the collective. `communicator` works on the memory of `device`.
CollectiveRow measure_collective(const CollectiveOptions& options, int64_t bytes,
                                 Communicator& communicator, Device& device);

// Bytes over time, in GB/s; NaN for one rank, which moves none.
double algorithm_bandwidth(const CollectiveRow& row, int ranks);
// What each rank's link carries, whatever their number: 2 (n - 1) / n of that for a sum that all
// get, (n - 1) / n for parts (nccl-tests, doc/PERFORMANCE.md).
double bus_bandwidth(const CollectiveOptions& options, const CollectiveRow& row, int ranks);

// The report: a heading, a line per row, and a summary; or all of it as one JSON object.
std::string collective_heading(const CollectiveOptions& options, int ranks,
                               const std::string& device);
std::string collective_line(const CollectiveOptions& options, const CollectiveRow& row, int ranks);
std::string collective_summary(const CollectiveOptions& options,
                               const std::vector<CollectiveRow>& rows, int ranks);
std::string collective_json(const CollectiveOptions& options,
                            const std::vector<CollectiveRow>& rows, int ranks,
                            const std::string& device);

}  // namespace bigbigan
