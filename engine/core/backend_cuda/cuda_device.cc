#include "engine/core/backend_cuda/cuda_device.h"

#include <fmt/format.h>

#include <array>

#include "kernels/common/cuda_status.h"
#include "kernels/common/launch_nothing.h"
#include "kernels/conv/conv2d.h"
#include "kernels/linear/gemm.h"

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

// 13000 is "13.0".
std::string cuda_version(int number) {
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

// What cudaGetDeviceCount calls an insufficient driver is as often none at all.
[[noreturn]] void fail_for_driver() {
  int driver = 0, runtime = 0;
  check_cuda(cudaDriverGetVersion(&driver), "CUDA driver");
  check_cuda(cudaRuntimeGetVersion(&runtime), "CUDA runtime");
  if (driver == 0) {
    fail(ExitCode::kSystem,
         "no CUDA device: no NVIDIA driver is installed; install it, or use --device cpu");
  }
  fail(ExitCode::kSystem,
       "no CUDA device: the NVIDIA driver is one for CUDA {}, this program needs CUDA {}; "
       "install a newer driver, or use --device cpu",
       cuda_version(driver), cuda_version(runtime));
}

// Runs a kernel that does nothing.
void check_kernels(int index) {
  cudaDeviceProp device{};
  check_cuda(cudaGetDeviceProperties(&device, index), "CUDA device");
  const cudaError_t status = launch_nothing();
  if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorUnsupportedPtxVersion) {
    cudaGetLastError();  // reported here
    fail(ExitCode::kSystem,
         "CUDA device {} ({}) has compute capability {}.{}, for which this program holds no "
         "kernels; build it with -DBIGBIGAN_CUDA_ARCH={}{}, or use --device cpu",
         index, device.name, device.major, device.minor, device.major, device.minor);
  }
  check_cuda(status, "CUDA device");
  check_cuda(cudaDeviceSynchronize(), "CUDA device");
}

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

std::optional<MemoryRoom> CudaMemory::room() const {
  size_t free_bytes = 0, total_bytes = 0;
  check_cuda(cudaMemGetInfo(&free_bytes, &total_bytes), "device memory");
  return MemoryRoom{static_cast<int64_t>(free_bytes), static_cast<int64_t>(total_bytes)};
}

std::unique_ptr<Readback> CudaMemory::readback(int64_t bytes) {
  return std::make_unique<CudaReadback>(bytes, stream_);
}

std::vector<std::string> cuda_device_names() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return {};
  }
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp device{};
    check_cuda(cudaGetDeviceProperties(&device, i), "CUDA device");
    std::string name;
    for (const char byte : device.uuid.bytes) {
      name += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    }
    names.push_back(name);
  }
  return names;
}

CudaDevice::CudaDevice(int index) : plans_(std::make_unique<LibraryPlans>()) {
  exec_.plans = plans_.get();
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorInsufficientDriver) fail_for_driver();
  check_cuda(status, "no CUDA device");
  if (index < 0 || index >= count) {
    fail(ExitCode::kSystem, "CUDA device {} asked for, this machine has {}", index, count);
  }
  check_cuda(cudaSetDevice(index), "CUDA device");
  check_cuda(cudaDeviceGetAttribute(&exec_.sms, cudaDevAttrMultiProcessorCount, index),
             "CUDA device");
  check_kernels(index);
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
  return {.name = found.name, .driver = cuda_version(version), .cache_bytes = found.l2CacheSize};
}

std::string CudaDevice::chosen_by() const {
  int index = 0;
  cudaDeviceProp found;
  check_cuda(cudaGetDevice(&index), "CUDA device");
  check_cuda(cudaGetDeviceProperties(&found, index), "CUDA device");
  return fmt::format("{} ({}.{}), {}, {}\n", found.name, found.major, found.minor, conv2d_library(),
                     gemm_library());
}

std::string CudaDevice::plans() const { return chosen_by() + plans_->text(); }

bool CudaDevice::take_over_plans(std::string_view text) const {
  const std::string mine = chosen_by();
  if (!text.starts_with(mine)) return false;
  plans_->take_over(text.substr(mine.size()));
  return true;
}

void CudaDevice::synchronize() const {
  check_cuda(cudaStreamSynchronize(exec_.stream), "CUDA launches");
}

}  // namespace bigbigan
