#include "kernels/bench/ceilings.h"

#include <dnnl.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/bench/operands.h"
#include "kernels/bench/stopwatch.h"
#include "kernels/common/error.h"
#include "kernels/common/one_thread.h"
#include "kernels/linear/gemm.h"

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

double sgemm_tflop_per_s(const CpuExec& ex) {
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
  return 2.0 * kSize * kSize * kSize * static_cast<double>(products) / seconds * 1e-12;
}

double device_copy_gb_per_s(Accelerator& device, DeviceTimer& timer, int64_t bytes) {
  const auto pool = device.private_pool();
  const Context ctx{.exec = device.exec(), .allocator = pool.get()};
  const Tensor from = Tensor::zeros(ctx, {bytes}, DType::kU8);
  const Tensor to = Tensor::zeros(ctx, {bytes}, DType::kU8);
  const Work work = [&] { to.copy_from(from); };
  return 2.0 * static_cast<double>(bytes) / timer.seconds_per_call({&work, 1}) * 1e-9;
}

double device_matmul_tflop_per_s(Accelerator& device, DeviceTimer& timer, int64_t size,
                                 DType dtype) {
  const auto pool = device.private_pool();
  const Context ctx{.exec = device.exec(), .allocator = pool.get()};
  const Tensor a = normal_tensor(ctx, {size, size}, dtype, {.seed = 1});
  const Tensor b = normal_tensor(ctx, {size, size}, dtype, {.seed = 2});
  const Tensor c = Tensor::empty(ctx, {size, size}, dtype);
  const Work work = [&] { ctx.run([&](const auto& ex) { gemm(ex, {.a = a, .b = b, .c = c}); }); };
  return 2.0 * std::pow(static_cast<double>(size), 3) / timer.seconds_per_call({&work, 1}) * 1e-12;
}

}  // namespace

Ceilings measure_ceilings(const CpuExec& ex) {
  return {.copy_gb_per_s = copy_gb_per_s(ex), .matmul_f32_tflop_per_s = sgemm_tflop_per_s(ex)};
}

Ceilings measure_ceilings(Accelerator& device, DeviceTimer& timer, const CeilingSizes& sizes) {
  const auto matmul = [&](DType dtype) {
    return device_matmul_tflop_per_s(device, timer, sizes.matmul, dtype);
  };
  return {.copy_gb_per_s = device_copy_gb_per_s(device, timer, sizes.copy_bytes),
          .matmul_f32_tflop_per_s = matmul(DType::kF32),
          .matmul_bf16_tflop_per_s = matmul(DType::kBF16)};
}

std::map<std::string, double> rates(const CallWork& work, double seconds,
                                    const Ceilings& ceilings) {
  std::map<std::string, double> counters;
  const double gb_per_s = 1e-9 * work.bytes / seconds;
  counters["GB/s"] = gb_per_s;
  counters["%bw"] = 100 * gb_per_s / ceilings.copy_gb_per_s;
  const double peak = work.dtype == DType::kBF16 ? ceilings.matmul_bf16_tflop_per_s
                                                 : ceilings.matmul_f32_tflop_per_s;
  if (work.flops == 0) return counters;
  const double tflop_per_s = 1e-12 * work.flops / seconds;
  counters["TFLOP/s"] = tflop_per_s;
  if (peak > 0) counters["%peak"] = 100 * tflop_per_s / peak;
  return counters;
}

}  // namespace bigbigan
