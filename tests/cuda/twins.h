// A launcher on both backends with equal inputs: the CPU's result is the expected one.
//
//   Twins twins;                                                  // one per test case
//   const Twin x = twins.normal({3, 5, 7, 33}, DType::kBF16);     // the same bits on both
//   const Twin y = twins.fresh({3, 5, 7, 33}, DType::kBF16);      // NaN bits, in guarded memory
//   twins.run([&](const auto& ex, auto at) { relu_forward(ex, at(x), at(y)); });
//   twins.require_close(y, tolerance);                            // or require_equal(y)
//
// Inputs are drawn from a generator seeded by a constant; failures are replayed by running again.
#pragma once

#include <random>
#include <vector>

#include "engine/core/backend_cuda/cuda_device.h"
#include "engine/core/tensor.h"
#include "tests/harness/guard_allocator.h"
#include "tests/harness/values.h"

namespace bigbigan {

struct Twin {
  Tensor cpu, cuda;
};

class Twins {
 public:
  // Standard normal times `scale` plus `offset`, rounded to the dtype.
  Twin normal(const Shape& shape, DType dtype, double scale = 1.0, double offset = 0.0);
  Twin of(const Shape& shape, DType dtype, std::span<const double> values);
  // i32, i64 or u8 values.
  template <class T>
  Twin of_integers(const Shape& shape, const std::vector<T>& values) {
    return {Tensor::from_host(cpu_, shape, dtype_of<T>(), values.data()),
            Tensor::from_host(cuda_, shape, dtype_of<T>(), values.data())};
  }
  // Fresh memory holds NaN bits (0xff): reading it shows.
  Twin fresh(const Shape& shape, DType dtype);

  // body(exec, at): once with CpuExec, once with CudaExec; at(twin) is the view of that side.
  template <class Body>
  void run(const Body& body) const {
    body(CpuExec{}, [](const Twin& t) { return t.cpu.view(); });
    body(device_.exec(), [](const Twin& t) { return t.cuda.view(); });
    device_.synchronize();
  }

  // Each element within `relative` times the largest expected one.
  void require_close(const Twin& t, double relative) const;
  // Each element within `limit` of the expected one: where terms of a known size cancel.
  void require_within(const Twin& t, double limit) const;
  [[nodiscard]] double largest(const Twin& t) const;  // of the expected magnitudes
  void require_equal(const Twin& t) const;            // bit by bit

 private:
  CudaDevice device_;
  HostAllocator host_;
  GuardAllocator host_guard_{host_};
  PoolAllocator pool_{device_.memory()};
  GuardAllocator cuda_guard_{pool_};
  Context cpu_{.exec = CpuExec{}, .allocator = &host_guard_};
  Context cuda_{.exec = device_.exec(), .allocator = &cuda_guard_};
  std::mt19937_64 random_{20261125};
};

// A sum of `length` rounded terms, as in Note [Tolerances] of tests/harness/checks.cc.
double sum_tolerance(DType dtype, int64_t length = 1);

}  // namespace bigbigan
