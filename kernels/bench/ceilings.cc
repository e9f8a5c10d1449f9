#include "kernels/bench/ceilings.h"

#include <dnnl.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/bench/stopwatch.h"
#include "kernels/common/error.h"
#include "kernels/common/one_thread.h"

namespace bigbigan {
namespace {

constexpr int kRounds = 7;

template <class Body>
double best_seconds(const Body& body) {
  double best = 1e30;
  for (int i = 0; i < kRounds; ++i) {
    const Stopwatch watch;
    body();
    best = std::min(best, watch.seconds());
  }
  return best;
}

double copy_gb_per_s(const CpuExec& ex) {
  constexpr int64_t kBytes = 128 << 20;
  std::vector<char> from(kBytes, 1), to(kBytes, 2);
  const double seconds = best_seconds([&] {
    ex.for_range(kBytes, 1 << 20, [&](int64_t begin, int64_t end) {
      std::memcpy(to.data() + begin, from.data() + begin, end - begin);
    });
  });
  return 2.0 * kBytes / seconds * 1e-9;
}

double sgemm_gflop_per_s(const CpuExec& ex) {
  constexpr int64_t kSize = 512;
  const int64_t products = 4 * (ex.parallel != nullptr ? ex.parallel->threads() : 1);
  std::vector<float> a(kSize * kSize, 0.5f), b(kSize * kSize, 0.25f), c(products * kSize * kSize);
  const double seconds = best_seconds([&] {
    ex.for_chunks(products, [&](int64_t i) {
      const OneThread one_thread;
      const dnnl_status_t status =
          dnnl_sgemm('N', 'N', kSize, kSize, kSize, 1.0f, a.data(), kSize, b.data(), kSize, 0.0f,
                     c.data() + i * kSize * kSize, kSize);
      check(status == dnnl_success, "bench: sgemm: oneDNN status {}", int(status));
    });
  });
  return 2.0 * kSize * kSize * kSize * static_cast<double>(products) / seconds * 1e-9;
}

}  // namespace

Ceilings measure_ceilings(const CpuExec& ex) {
  return {.copy_gb_per_s = copy_gb_per_s(ex), .sgemm_gflop_per_s = sgemm_gflop_per_s(ex)};
}

}  // namespace bigbigan
