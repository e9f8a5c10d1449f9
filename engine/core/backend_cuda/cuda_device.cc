#include "cuda_device.h"

#include <cuda_runtime_api.h>

#include "kernels/common/error.h"

namespace bigbigan {
namespace {

void check_call(cudaError_t status, const char* what) {
  if (status != cudaSuccess) {
    fail(ExitCode::kSystem, "{}: {} ({})", what, cudaGetErrorName(status),
         cudaGetErrorString(status));
  }
}

}  // namespace

void* CudaMemory::allocate(int64_t bytes) {
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the allocator reports it
    return nullptr;
  }
  check_call(status, "device memory");
  return block;
}

void CudaMemory::release(void* block) noexcept { cudaFree(block); }

void CudaMemory::read(const void* from, void* host, int64_t bytes) {
  if (bytes == 0) return;
  check_call(cudaMemcpyAsync(host, from, bytes, cudaMemcpyDeviceToHost, stream_), "device to host");
  check_call(cudaStreamSynchronize(stream_), "device to host");
}

void CudaMemory::write(void* to, const void* host, int64_t bytes) {
  if (bytes == 0) return;
  check_call(cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, stream_), "host to device");
}

void CudaMemory::copy(void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  check_call(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_), "device copy");
}

void CudaMemory::fill(void* to, int byte, int64_t bytes) {
  if (bytes == 0) return;
  check_call(cudaMemsetAsync(to, byte, bytes, stream_), "device fill");
}

CudaDevice::CudaDevice(int index) {
  int count = 0;
  check_call(cudaGetDeviceCount(&count), "no CUDA device");
  if (index < 0 || index >= count) {
    fail(ExitCode::kSystem, "CUDA device {} asked for, this machine has {}", index, count);
  }
  check_call(cudaSetDevice(index), "CUDA device");
  check_call(cudaDeviceGetAttribute(&exec_.sms, cudaDevAttrMultiProcessorCount, index),
             "CUDA device");
  check_call(cudaStreamCreateWithFlags(&exec_.stream, cudaStreamNonBlocking), "CUDA stream");
}

CudaDevice::~CudaDevice() {
  cudaStreamSynchronize(exec_.stream);
  cudaStreamDestroy(exec_.stream);
}

void CudaDevice::synchronize() const {
  check_call(cudaStreamSynchronize(exec_.stream), "CUDA launches");
}

}  // namespace bigbigan
