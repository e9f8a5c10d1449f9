// What this machine can do at best, measured in the run that is compared with it; and how a
// measurement compares.
#pragma once

#include <map>
#include <string>

#include "engine/core/device.h"
#include "kernels/bench/device_timer.h"
#include "kernels/common/dtype.h"

namespace bigbigan {

struct Ceilings {
  double copy_gb_per_s = 0;  // beyond the caches; bytes read and bytes written
  double matmul_f32_tflop_per_s = 0;
  double matmul_bf16_tflop_per_s = 0;  // 0: not measured
};

// On the threads of `ex`: memcpy, and oneDNN's sgemm of 512^3 on every thread at once; the best of
// several rounds, half a second in all.
Ceilings measure_ceilings(const CpuExec& ex);

struct CeilingSizes {
  int64_t copy_bytes = int64_t{1} << 30, matmul = 8192;
};
inline constexpr CeilingSizes kSmallCeilings = {.copy_bytes = 1 << 20, .matmul = 64};
// On a GPU: a copy from memory to memory, and the library's matrix products of random data.
Ceilings measure_ceilings(Accelerator& device, DeviceTimer& timer, const CeilingSizes& sizes);

// What a call must do at least.
struct CallWork {
  double bytes = 0, flops = 0;
  DType dtype = DType::kF32;
};
// The counters of a call that takes `seconds`: GB/s and its share %bw of the copy; where there are
// FLOPs and a ceiling for the dtype, TFLOP/s and its share %peak.
std::map<std::string, double> rates(const CallWork& work, double seconds, const Ceilings& ceilings);

}  // namespace bigbigan
