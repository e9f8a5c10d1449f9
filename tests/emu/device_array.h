// Device memory for tests, with copies to and from the host.
#pragma once

#include <vector>

#include "kernels/common/launch.cuh"

namespace bigbigan {

template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(size_t n) : size_(n) {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, n * sizeof(T)), "cudaMalloc");
    data_ = static_cast<T*>(memory);
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) {
    check_cuda(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyDefault),
               "cudaMemcpy");
  }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] std::vector<T> host() const {
    std::vector<T> values(size_);
    check_cuda(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDefault),
               "cudaMemcpy");
    return values;
  }

 private:
  size_t size_;
  T* data_ = nullptr;
};

}  // namespace bigbigan
