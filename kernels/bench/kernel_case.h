// Single launchers with operands of any size, for benchmarks: what the whole operations of
// tests/harness hide is the bandwidth of each kernel.
#pragma once

#include <string>
#include <vector>

#include "kernels/bench/device_timer.h"
#include "kernels/bench/operands.h"
#include "models/bigbigan/config.h"

namespace bigbigan {

// A launcher and its operands.
struct PreparedKernel {
  Work launch;
  std::vector<Tensor> moved;    // once each way: one that is read and written stands here twice
  std::vector<Tensor> results;  // what a check looks at
};

// Makes operands, the same ones in the same order whatever the backend and dtype.
class KernelSetup {
 public:
  // Activations have `dtype`, and their values are those of `rounded_to`.
  KernelSetup(const Context& ctx, DType dtype, DType rounded_to)
      : ctx(ctx), dtype(dtype), rounded_to_(rounded_to) {}

  [[nodiscard]] Tensor normal(const Shape& shape, double deviation = 1, double mean = 0);
  [[nodiscard]] Tensor master(const Shape& shape);  // the same, of single()
  [[nodiscard]] Tensor fresh(const Shape& shape) const { return Tensor::empty(ctx, shape, dtype); }
  [[nodiscard]] Tensor fresh(const Shape& shape, DType other) const {
    return Tensor::empty(ctx, shape, other);
  }
  // f64, or f32 where activations are narrower.
  [[nodiscard]] DType single() const { return dtype == DType::kF64 ? dtype : DType::kF32; }
  // body(exec) on the setup's backend.
  template <class Body>
  [[nodiscard]] Work launch(const Body& body) const {
    return [context = ctx, body] { context.run(body); };
  }

  const Context ctx;
  const DType dtype;

 private:
  DType rounded_to_;
  uint64_t operands_ = 0;
};

struct KernelCase {
  std::string name;  // "<launcher>/<key>:<value>/..."
  std::function<PreparedKernel(KernelSetup&)> prepare;
  bool takes_bf16 = true;
  double flops = 0;
  int64_t length = 1;  // terms per sum: tolerances grow with its square root
};

// Sizes of the networks that the cases are cut from.
struct KernelSizes {
  int64_t batch, resolution, channels;  // of G's attention block
  int64_t image;                        // of the data, a side
  int64_t wide;                         // H and J
  int64_t queries, references;          // of a tile of nearest neighbours
  ModelConfig model;                    // whose weights are normalised and updated
};
// `base` at the batch of its estimates: every operand of a memory-bound kernel is beyond the cache.
KernelSizes base_sizes();
// The same kernels on a few elements.
KernelSizes small_sizes();

// The same kernels in the same order for all sizes.
std::vector<KernelCase> kernel_cases(const KernelSizes& sizes);

// Runs `c` once in `dtype` with `exec` and once in f64 on the CPU, with equal values. Empty, or
// what differs; and the largest error relative to the largest element of its tensor.
std::string check_kernel(const KernelCase& c, const AnyExec& exec, Allocator& allocator,
                         DType dtype, double& worst_error);

}  // namespace bigbigan
