#include "engine/core/backend_cuda/cuda_device.h"

#include <fmt/format.h>

#include "kernels/common/cuda_status.h"

namespace bigbigan {

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

DeviceProperties CudaDevice::properties() const {
  int index = 0, version = 0;
  cudaDeviceProp found;
  check_cuda(cudaGetDevice(&index), "CUDA device");
  check_cuda(cudaGetDeviceProperties(&found, index), "CUDA device");
  check_cuda(cudaDriverGetVersion(&version), "CUDA driver");
  return {.name = found.name,
          .driver = fmt::format("{}.{}", version / 1000, version % 1000 / 10),
          .cache_bytes = found.l2CacheSize};
}

void CudaDevice::synchronize() const {
  check_cuda(cudaStreamSynchronize(exec_.stream), "CUDA launches");
}

}  // namespace bigbigan
