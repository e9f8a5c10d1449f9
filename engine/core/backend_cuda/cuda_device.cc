#include "engine/core/backend_cuda/cuda_device.h"

#include <array>

#include "kernels/common/cuda_status.h"

namespace bigbigan {
namespace {

class CudaReadback final : public Readback {
 public:
  CudaReadback(int64_t bytes, cudaStream_t stream) : bytes_(bytes), stream_(stream) {
    for (Slot& slot : slots_) {
      check_cuda(cudaMallocHost(&slot.pinned, bytes), "pinned memory");
      // The host sleeps meanwhile: data loading needs its cores.
      check_cuda(
          cudaEventCreateWithFlags(&slot.copied, cudaEventDisableTiming | cudaEventBlockingSync),
          "CUDA event");
    }
  }

 private:
  struct Slot {
    Slot() = default;
    ~Slot() {
      if (copied != nullptr) cudaEventDestroy(copied);
      cudaFreeHost(pinned);
    }
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

    void* pinned = nullptr;
    cudaEvent_t copied = nullptr;
  };

  void start_copy(int slot, const void* from) override {
    check_cuda(cudaMemcpyAsync(slots_[slot].pinned, from, bytes_, cudaMemcpyDeviceToHost, stream_),
               "device to host");
    check_cuda(cudaEventRecord(slots_[slot].copied, stream_), "device to host");
  }
  const std::byte* finish_copy(int slot) override {
    check_cuda(cudaEventSynchronize(slots_[slot].copied), "CUDA launches");
    return static_cast<const std::byte*>(slots_[slot].pinned);
  }

  int64_t bytes_;
  cudaStream_t stream_;
  std::array<Slot, kSlots> slots_;
};

}  // namespace

void* CudaMemory::allocate(int64_t bytes) {
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the allocator reports it
    return nullptr;
  }
  check_cuda(status, "device memory");
  return block;
}

void CudaMemory::release(void* block) noexcept { cudaFree(block); }

void CudaMemory::read(const void* from, void* host, int64_t bytes) {
  if (bytes == 0) return;
  check_cuda(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream_), "device to host");
  check_cuda(cudaStreamSynchronize(stream_), "device to host");
}

void CudaMemory::write(void* to, const void* host, int64_t bytes) {
  if (bytes == 0) return;
  check_cuda(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, stream_), "host to device");
}

void CudaMemory::copy(void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "device copy");
}

void CudaMemory::fill(void* to, int byte, int64_t bytes) {
  if (bytes == 0) return;
  check_cuda(cudaMemsetAsync(to, byte, bytes, stream_), "device fill");
}

std::unique_ptr<Readback> CudaMemory::readback(int64_t bytes) {
  return std::make_unique<CudaReadback>(bytes, stream_);
}

CudaDevice::CudaDevice(int index) {
  int count = 0;
  check_cuda(cudaGetDeviceCount(&count), "no CUDA device");
  if (index < 0 || index >= count) {
    fail(ExitCode::kSystem, "CUDA device {} asked for, this machine has {}", index, count);
  }
  check_cuda(cudaSetDevice(index), "CUDA device");
  check_cuda(cudaDeviceGetAttribute(&exec_.sms, cudaDevAttrMultiProcessorCount, index),
             "CUDA device");
  check_cuda(cudaStreamCreateWithFlags(&exec_.stream, cudaStreamNonBlocking), "CUDA stream");
}

CudaDevice::~CudaDevice() {
  cudaStreamSynchronize(exec_.stream);
  cudaStreamDestroy(exec_.stream);
}

void CudaDevice::synchronize() const {
  check_cuda(cudaStreamSynchronize(exec_.stream), "CUDA launches");
}

}  // namespace bigbigan
