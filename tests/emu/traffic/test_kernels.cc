// What kernels ask of the memory, against what their work takes. It is counted, never timed.
//
//   test_traffic "[.table]"    prints all of it, by line of the source
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <tuple>

#include "engine/core/backend_cuda/cuda_device.h"
#include "kernels/bench/kernel_case.h"
#include "tests/emu/traffic/counter.h"

using namespace bigbigan;

namespace {

// Whole packs in every row, and tensors beside which parameters are small.
KernelSizes counted_sizes() {
  KernelSizes sizes = small_sizes();
  sizes.batch = 2;
  sizes.resolution = 16;
  sizes.channels = 128;
  sizes.image = 32;
  sizes.wide = 64;
  sizes.queries = 64;
  sizes.references = 256;
  sizes.model.g_channels = sizes.model.d_channels = {32, 32, 32, 32};
  return sizes;
}

double ratio(int64_t a, int64_t b) {
  return b == 0 ? 1 : static_cast<double>(a) / static_cast<double>(b);
}

struct Counts {
  std::string name;
  int64_t floor = 0;  // bytes that any implementation must move
  std::vector<emu::KernelTraffic> kernels;
  int64_t unique = 0;  // bytes, once in each grid
  emu::Requests device, shared;

  double of_floor() const { return ratio(unique, floor); }
  // Of the sectors that requests ask for, the part that they use.
  double used() const { return ratio(device.bytes, emu::kSectorBytes * device.sectors); }
  // How often a byte is asked for; the first level of cache serves all times but one.
  double repeats() const { return ratio(emu::kSectorBytes * device.sectors, unique); }
  double width() const { return ratio(device.bytes, device.count); }
  double conflicts() const { return ratio(shared.passes, shared.least_passes); }

  std::string text() const {
    return fmt::format(
        "{}: {:.3f} x {} bytes, used {:.2f}, repeats {:.2f}, width {:.0f}, "
        "conflicts {:.2f}",
        name, of_floor(), floor, used(), repeats(), width(), conflicts());
  }
};

Counts count(const KernelCase& c, DType dtype) {
  const CudaDevice device;
  PoolAllocator pool(device.memory());
  KernelSetup setup({.exec = device.exec(), .allocator = &pool}, dtype, dtype);
  const PreparedKernel prepared = c.prepare(setup);
  device.synchronize();
  Counts counts{.name = fmt::format("{}/{}", c.name, name_of(dtype))};
  for (const Tensor& t : prepared.moved) counts.floor += t.view().bytes();
  counts.kernels = emu::count_traffic([&] {
    prepared.launch();
    device.synchronize();
  });
  for (const emu::KernelTraffic& k : counts.kernels) {
    counts.unique += k.unique_read + k.unique_written;
    counts.device += k.total(false);
    counts.shared += k.total(true);
  }
  return counts;
}

// body(counts) for all cases but the libraries' products.
template <class Body>
void for_counts(const Body& body) {
  for (const KernelCase& c : kernel_cases(counted_sizes())) {
    if (c.name.starts_with("conv2d_fprop") || c.name.starts_with("conv2d_dgrad") ||
        c.name.starts_with("conv2d_wgrad") || c.name.starts_with("gemm/")) {
      continue;
    }
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      if (dtype == DType::kBF16 && !c.takes_bf16) continue;
      body(count(c, dtype));
    }
  }
}

std::string text_of(const dim3& d) { return fmt::format("{}x{}x{}", d.x, d.y, d.z); }

void print(const Counts& c) {
  std::set<const void*> addresses;
  for (const emu::KernelTraffic& k : c.kernels) {
    addresses.insert(k.kernel);
    for (const auto& [instruction, r] : k.requests) addresses.insert(instruction.address);
  }
  const auto symbols = emu::symbols_of(addresses);
  fmt::print("{}\n", c.text());
  for (const emu::KernelTraffic& k : c.kernels) {
    fmt::print("  {} <{}, {}> x {}: reads {} bytes, writes {}\n", symbols.at(k.kernel).function,
               text_of(k.grid), text_of(k.block), k.launches, k.unique_read, k.unique_written);
    // The compiler's copies of an access count as one.
    std::map<std::tuple<std::string, bool, bool>, emu::Requests> places;
    for (const auto& [instruction, r] : k.requests) {
      const std::string& place = symbols.at(instruction.address).place;
      places[{place, instruction.is_shared, instruction.writes}] += r;
    }
    for (const auto& [place, r] : places) {
      const auto& [line, is_shared, writes] = place;
      fmt::print("    {:24} {:6} x {:3} bytes {} {} memory, {} {:.2f}\n", line, r.count,
                 r.bytes / r.count, writes ? "to" : "from", is_shared ? "shared" : "device",
                 is_shared ? "conflicts" : "used",
                 is_shared ? ratio(r.passes, r.least_passes)
                           : ratio(r.bytes, emu::kSectorBytes * r.sectors));
    }
  }
}

struct Limits {
  double of_floor = 1.03, used = 0.95, repeats = 1.1, width = 300, conflicts = 1.05;
};

// What a launcher may do worse than others, and why.
struct Exception {
  const char* launcher;
  Limits limits;
};
Limits limits_of(const std::string& name) {
  static const std::vector<Exception> exceptions = {
      // f64 sums of blocks of rows, which are few here.
      {"batch_statistics", {.of_floor = 1.08, .used = 0.9, .repeats = 1.15}},
      {"column_sum", {.of_floor = 1.08, .used = 0.9}},
      // The same of images.
      {"batch_norm_backward_sums", {.used = 0.89, .repeats = 1.15}},
      // The pixels of a window read the same.
      {"max_pool_backward", {.repeats = 1.3, .width = 270}},
      // All pixels of an image read the same.
      {"global_pool_backward", {.repeats = 2}},
      // Turned by tiles of single elements, nine of which a thread reads at a time.
      {"fold_upsample_weight", {.width = 80}},
      // Three channels are no pack; a thread reads all pixels of a box at a time.
      {"box_downsample", {.used = 0.45, .repeats = 2.1, .width = 60}},
      // Beside each pack, the number of the first sample.
      {"random_normal", {.width = 240}},
      // A few numbers in all.
      {"adversarial", {.used = 0, .repeats = 7, .width = 0}},
      // u and v for each row.
      {"gradient_sums", {.repeats = 1.55}},
      {"optimizer_update/elems", {.repeats = 1.3}},
      // w is read for u W, for W v and to be scaled.
      {"spectral_norm", {.of_floor = 2.2, .repeats = 1.15, .width = 200}},
      // A tile of queries reads all keys and values of its sample; backward, one of keys all
      // queries. Tiles of bf16 are laid out for the tensor cores' loads, and not for the fewer
      // packs that fill them.
      {"attention_forward", {.repeats = 1.7, .width = 250, .conflicts = 1.2}},
      {"attention_backward", {.of_floor = 1.85, .repeats = 1.2, .conflicts = 1.15}},
      // Beside each pack the winners' bytes; a few channels of keys are half a sector.
      {"split_projections", {.used = 0.88, .repeats = 1.15, .width = 290}},
      // All queries have the same offsets.
      {"update_nearest", {.repeats = 1.8}},
      // Bound by arithmetic.
      {"l1_distances", {.used = 0.5, .repeats = 2.7, .width = 128, .conflicts = 1.2}},
  };
  for (const Exception& e : exceptions) {
    if (name.starts_with(e.launcher)) return e.limits;
  }
  return {};
}

}  // namespace

TEST_CASE("kernels move what they must, in whole sectors, by wide accesses") {
  int cases = 0;
  for_counts([&](const Counts& c) {
    const Limits limits = limits_of(c.name);
    INFO(c.text());
    CHECK(c.of_floor() <= limits.of_floor);
    CHECK(c.used() >= limits.used);
    CHECK(c.repeats() <= limits.repeats);
    CHECK(c.width() >= limits.width);
    CHECK(c.conflicts() <= limits.conflicts);
    ++cases;
  });
  CHECK(cases > 40);
}

TEST_CASE("table", "[.table]") { for_counts(print); }
