// A CUDA device: its stream, and memory whose transfers take their place in the order of the
// stream.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/core/allocator.h"
#include "engine/core/device.h"
#include "kernels/common/library_plans.h"

namespace bigbigan {

// Memory of the device that is current where it is made. Host bytes pass through pageable memory:
// write() returns when they may change again, read() when they are there.
class CudaMemory final : public Memory {
 public:
  explicit CudaMemory(CUstream_st* stream) : stream_(stream) {}
  void* allocate(int64_t bytes) override;
  void release(void* block) noexcept override;
  void read(const void* from, void* host, int64_t bytes) override;
  void write(void* to, const void* host, int64_t bytes) override;
  void copy(void* to, const void* from, int64_t bytes) override;
  void fill(void* to, int byte, int64_t bytes) override;
  // Into pinned memory.
  [[nodiscard]] std::unique_ptr<Readback> readback(int64_t bytes) override;
  [[nodiscard]] std::optional<MemoryRoom> room() const override;

 private:
  CUstream_st* stream_;
};

// The UUID of each device, in hex; none where CUDA finds no device.
std::vector<std::string> cuda_device_names();

// Makes device `index` current for this thread, and owns a stream on it. Throws Error{kSystem}
// where there is no driver or one too old, no such device, or none that this program has kernels
// for.
class CudaDevice {
 public:
  explicit CudaDevice(int index = 0);
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  [[nodiscard]] const CudaExec& exec() const { return exec_; }
  [[nodiscard]] std::unique_ptr<Memory> memory() const {
    return std::make_unique<CudaMemory>(exec_.stream);
  }
  [[nodiscard]] DeviceProperties properties() const;
  // Accelerator::plans and take_over_plans.
  [[nodiscard]] std::string plans() const;
  [[nodiscard]] bool take_over_plans(std::string_view text) const;
  // Waits for all launches; throws Error{kSystem} for an error that one of them met.
  void synchronize() const;

 private:
  // "NVIDIA H200 (9.0), cuDNN 9.19.0, cuBLASLt 13.1.0\n"
  [[nodiscard]] std::string chosen_by() const;

  std::unique_ptr<LibraryPlans> plans_;
  CudaExec exec_;
};

}  // namespace bigbigan
